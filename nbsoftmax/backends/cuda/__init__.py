"""Rows on NVIDIA GPUs."""
