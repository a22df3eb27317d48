"""Backends hold X and compute sums over its rows: `base` says what one is, and how to write another."""
