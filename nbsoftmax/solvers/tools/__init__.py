"""Building blocks of solvers: conjugate gradients, line searches, preconditioners, bounds on the gap."""
