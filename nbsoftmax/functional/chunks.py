"""How the elements of logits are divided into chunks, which kernels process in parallel."""


def n_chunks(n_elements: int) -> int:
    """Number of chunks: at least 16 Ki elements in each, at most 256 chunks; it depends only on the shape."""
    return max(1, min(256, n_elements // 2**14))
