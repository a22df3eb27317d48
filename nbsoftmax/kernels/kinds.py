"""Kinds of targets, as numbers that the validation passes to the kernels for CPUs and GPUs."""

# INDEX: class indices without label smoothing, with all weights in the sample weights. INDEX_SMOOTHED: class indices
# with label smoothing. PROBA: rows of probabilities. PARTIAL: rows of possible classes.
INDEX, INDEX_SMOOTHED, PROBA, PARTIAL = 0, 1, 2, 3
