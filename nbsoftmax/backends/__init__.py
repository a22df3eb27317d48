"""Backends hold X and compute sums over its rows. One file each."""
