"""Names of command-line options in the advice for a fit that has not converged."""

TERMS = {
    "learning_rate": "--learning-rate",
    "max_iter": "--max-iter",
    "max_seconds": "--max-seconds",
    "firth": "use --firth",
    "penalize": "add or increase --l2 (from 0, for example to 1e-4)",
    "resume": "continue from a --checkpoint with --resume",
    "scale": "scale the features (--standardize)",
    "tol": "--tol",
    "float64": "use --dtype float64 for float32 data",
}
