"""What solvers share: conjugate gradients, preconditioners, bounds on the gap, separable classes."""
