"""Loss and gradient on a real GPU, compared with PyTorch and with memory copies: python -m perf.gpu (make test-gpu)

PyTorch is timed if it is installed with CUDA. X is on the device before the timing, and the losses must agree.
"""

import sys
import time
from pathlib import Path

import numpy as np

SHAPES = ((581_000, 54, 7), (60_000, 784, 10), (100_000, 512, 100), (20_000, 1000, 1000))
ROUNDS = 30


def timed(call, wait) -> float:
    """Median of the times of a call in seconds."""
    call()
    wait()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        wait()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def copied(cuda) -> float:
    """Bytes per second that the GPU reads and writes when it copies 1 GB of its memory."""
    source, target = (cuda.device_array(2**28, np.float32) for _ in range(2))
    return 2 * source.nbytes / timed(lambda: target.copy_to_device(source), cuda.synchronize)


def by_torch(X, y, params):
    """A function for loss and gradient by PyTorch's autograd, and one that waits for it; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = False
    x, labels = torch.from_numpy(X).cuda(), torch.from_numpy(y).cuda()
    w = torch.from_numpy(params[:, :-1].astype(X.dtype)).cuda().requires_grad_()
    b = torch.from_numpy(params[:, -1].astype(X.dtype)).cuda().requires_grad_()

    def call() -> float:
        loss = torch.nn.functional.cross_entropy(x @ w.T + b, labels)
        w.grad = b.grad = None
        loss.backward()
        return float(loss.detach())

    return call, torch.cuda.synchronize


def main() -> None:
    """Print a table of times."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import nbsoftmax as nbs
    from nbsoftmax.backends.cuda.device import missing

    reason = missing()
    if reason:
        print(f"skipped: {reason}")
        return
    from numba import cuda

    print(f"GPU: {cuda.get_current_device().name}")
    speed = copied(cuda)
    print(f"copies memory at {speed / 1e9:.0f} GB/s (read + written)")
    print(f"{'m x N x K':24} {'dtype':8} {'ms':>8} {'X read, GB/s':>13} {'PyTorch ms':>11}")
    rng = np.random.default_rng(0)
    for m, n, k in SHAPES:
        for dtype in (np.float32, np.float64):
            X, y = rng.standard_normal((m, n)).astype(dtype), rng.integers(0, k, m)
            params = rng.normal(size=(k, n + 1)) / np.sqrt(n)
            objective = nbs.Objective(X, y, device="cuda")
            ours = timed(lambda objective=objective, params=params: objective.value_and_grad(params), cuda.synchronize)
            theirs = by_torch(X, y, params)
            if theirs is None:
                beside = "-"
            else:
                np.testing.assert_allclose(theirs[0](), objective.value(params), rtol=1e-4)
                beside = f"{timed(*theirs) * 1e3:.3f}"
            shape = f"{m} x {n} x {k}"
            print(f"{shape:24} {np.dtype(dtype).name:8} {ours * 1e3:8.3f} {X.nbytes / ours / 1e9:13.0f} {beside:>11}")


if __name__ == "__main__":
    main()
