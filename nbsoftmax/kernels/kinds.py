"""Targets: their kinds, as numbers for the kernels of CPUs and GPUs, and what counts as a distribution."""

# INDEX: class indices without label smoothing, with all weights in the sample weights. INDEX_SMOOTHED: class indices
# with label smoothing. PROBA: rows of probabilities. PARTIAL: rows of possible classes.
INDEX, INDEX_SMOOTHED, PROBA, PARTIAL = 0, 1, 2, 3

# Soft labels may have been rounded to float16: the sum of 1000 of them, each rounded to 11 bits, is off by up to 5e-4.
# A larger deviation of a row's sum from 1 is a mistake, not rounding.
ROW_SUM_TOLERANCE = 1e-3
