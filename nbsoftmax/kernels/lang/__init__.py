"""What kernels are written in: vectors, exp and log, register tiles."""
