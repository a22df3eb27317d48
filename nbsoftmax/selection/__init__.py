"""The choice of the penalty: paths and cross-validation."""
