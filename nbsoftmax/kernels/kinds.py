"""Kinds of targets, numbered for kernels on the CPU and on GPUs, and for the validation that makes the targets."""

# Class indices; class indices with label smoothing or class weights for every class; rows of probabilities.
INDEX, INDEX_SMOOTHED, PROBA = 0, 1, 2
