"""What advice to a fit that has not converged calls the options on the command line."""

TERMS = {
    "learning_rate": "--learning-rate",
    "max_iter": "--max-iter",
    "max_seconds": "--max-seconds",
    "penalize": "add --l2 (1e-4, say)",
    "resume": "go on from a --checkpoint with --resume",
    "scale": "scale the features (--standardize)",
    "tol": "--tol",
    "float64": "use --dtype float64",
}
