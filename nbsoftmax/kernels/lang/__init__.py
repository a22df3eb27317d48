"""Building blocks of kernels: vectors, exp and log of vectors, register tiles."""
