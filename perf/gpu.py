"""Times on a real GPU, beside PyTorch on it and beside the CPU: python -m perf.gpu (make test-gpu)

    python -m perf.gpu                         print the tables
    python -m perf.gpu --compile               also time PyTorch's compiler, about 10 s for each row
    python -m perf.gpu --markdown perf/GPU.md  write the page as well

X is on the device before the timing. Ours takes parameters from the host and returns loss and gradient there; PyTorch
keeps both on the device, and its loss alone is read. The losses must agree. Contestants take turns.
"""

import argparse
import datetime
import platform
import sys
import time
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

TITLE = "Measured on a GPU"
SHAPES = (
    (581_000, 54, 7), (1_000_000, 20, 3), (5000, 54, 7), (60_000, 784, 10), (300_000, 2000, 5), (100_000, 512, 100),
    (20_000, 1000, 1000),
)  # fmt: skip
FITS = ((581_000, 54, 7), (60_000, 784, 10), (100_000, 512, 100))
ROUNDS = 30
COLUMNS = (
    "m x N x K",
    "dtype",
    "ms",
    "X, GB/s",
    "product, ms",
    "PyTorch, ms",
    "times faster",
    "compiled, ms",
    "CPU, ms",
)
FIT_COLUMNS = ["m x N x K", "dtype", "GPU, s", "CPU, s", "objective, GPU - CPU"]


def problem(m: int, n: int, k: int, dtype):
    """Random X, labels of a linear model, and parameters."""
    rng = np.random.default_rng(0)
    X, coef = rng.standard_normal((m, n), np.float32).astype(dtype), rng.normal(size=(k, n)) * 2 / np.sqrt(n)
    y = np.concatenate(
        [(part @ coef.T + rng.gumbel(size=(len(part), k))).argmax(axis=1) for part in np.array_split(X, 20)]
    )
    return X, y, rng.normal(size=(k, n + 1)) / np.sqrt(n)


def copied(cuda) -> dict[str, float]:
    """Bytes per second of copies: on the device, read + written, and from the host."""
    from perf.timing import interleave

    source, target = (cuda.device_array(2**28, np.float32) for _ in range(2))
    ours, theirs = cuda.pinned_array(2**26, np.float32), np.zeros(2**26, np.float32)
    part = target[: 2**26]
    calls = {
        "device": lambda: (target.copy_to_device(source), cuda.synchronize()),
        "page-locked": lambda: (part.copy_to_device(ours), cuda.synchronize()),
        "pageable": lambda: (part.copy_to_device(theirs), cuda.synchronize()),
    }
    moved = {"device": 2 * source.nbytes, "page-locked": ours.nbytes, "pageable": theirs.nbytes}
    return {name: moved[name] / times.median for name, times in interleave(calls, 10).items()}


def by_torch(X, y, params, *, compiled: bool):
    """Functions for loss and gradient by PyTorch, by name; none without PyTorch on a GPU."""
    if find_spec("torch") is None:
        return {}
    import torch

    if not torch.cuda.is_available():
        return {}
    torch.backends.cuda.matmul.allow_tf32 = False
    x, labels = torch.from_numpy(X).cuda(), torch.from_numpy(y).cuda()
    w = torch.from_numpy(params[:, :-1].astype(X.dtype)).cuda().requires_grad_()
    b = torch.from_numpy(params[:, -1].astype(X.dtype)).cuda().requires_grad_()

    def loss_of(x, w, b, labels):
        return torch.nn.functional.cross_entropy(x @ w.T + b, labels)

    def steps(function):
        def call() -> float:
            loss = function(x, w, b, labels)
            w.grad = b.grad = None
            loss.backward()
            torch.cuda.synchronize()
            return float(loss.detach())

        return call

    found = {"PyTorch": steps(loss_of)}
    if compiled:
        torch._dynamo.reset()
        found["compiled"] = steps(torch.compile(loss_of))
    return found


def evaluations(shape: tuple[int, int, int], dtype, *, compiled: bool, cpu: bool) -> list[str]:
    """One line of the table of evaluations."""
    import nbsoftmax as nbs
    from perf.timing import interleave

    X, y, params = problem(*shape, dtype)
    direction = params[::-1].copy()
    objective = nbs.Objective(X, y, device="cuda")
    calls = {
        "ours": lambda: objective.value_and_grad(params),
        "product": lambda: objective.hvp(params, direction),
        **by_torch(X, y, params, compiled=compiled),
    }
    if cpu:
        on_cpu = nbs.Objective(X, y)
        calls["CPU"] = lambda: on_cpu.value_and_grad(params)
    for name in {"PyTorch", "compiled"} & set(calls):
        np.testing.assert_allclose(calls[name](), objective.value(params), rtol=1e-4)
    times = {name: found.median for name, found in interleave(calls, ROUNDS).items()}

    def shown(name: str) -> str:
        return f"{times[name] * 1e3:.3f}" if name in times else "-"

    peers = [times[name] for name in ("PyTorch", "compiled") if name in times]
    ratio = f"{min(peers) / times['ours']:.2f}" if peers else "-"
    rate = f"{X.nbytes / times['ours'] / 1e9:.0f}"
    rest = shown("product"), shown("PyTorch"), ratio, shown("compiled"), shown("CPU")
    return [" x ".join(map(str, shape)), np.dtype(dtype).name, shown("ours"), rate, *rest]


def fits(shape: tuple[int, int, int], dtype) -> list[str]:
    """One line of the table of whole fits: the second fit of each device, when all kernels are compiled."""
    import nbsoftmax as nbs

    X, y, _ = problem(*shape, dtype)
    seconds, found = {}, {}
    for device in ("cuda", "cpu"):
        for _ in range(2):
            start = time.perf_counter()
            found[device] = nbs.Trainer(l2=1e-4, device=device).fit(X, y)
            seconds[device] = time.perf_counter() - start
        assert found[device].converged
    difference = f"{found['cuda'].objective - found['cpu'].objective:.1e}"
    name = " x ".join(map(str, shape))
    return [name, np.dtype(dtype).name, f"{seconds['cuda']:.2f}", f"{seconds['cpu']:.2f}", difference]


def machine(cuda) -> list[str]:
    """What was measured on."""
    from perf.timing import n_cores

    rates = copied(cuda)
    packages = ("numba", "numba-cuda", "numpy", "nvmath-python", "nvidia-cublas", "torch")
    versions = [f"{name} {version(name)}" for name in packages if _installed(name)]
    return [
        f"GPU: {cuda.get_current_device().name}; CPU: {n_cores()} cores, {platform.processor() or platform.machine()}",
        f"copies: {rates['device'] / 1e9:.0f} GB/s on the GPU, read + written; from the host "
        f"{rates['page-locked'] / 1e9:.0f} GB/s of page-locked and {rates['pageable'] / 1e9:.0f} of ordinary memory",
        f"versions: Python {platform.python_version()}, {', '.join(versions)}",
        f"date: {datetime.datetime.now(tz=datetime.UTC).date()}",
    ]


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except ModuleNotFoundError:
        return False


def main() -> None:
    """Print the tables, and write the page if asked."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    parser = argparse.ArgumentParser(prog="python -m perf.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--compile", action="store_true", help="also time PyTorch's compiler")
    parser.add_argument("--no-cpu", action="store_true", help="leave out evaluations and fits on the CPU")
    parser.add_argument("--markdown", type=Path, help="write the page to this file")
    given = parser.parse_args()
    from nbsoftmax.backends.cuda.device import missing
    from perf.report import markdown_table

    reason = missing()
    if reason:
        print(f"skipped: {reason}")
        return
    from numba import cuda

    warnings.filterwarnings("ignore", category=FutureWarning)  # of PyTorch
    top = machine(cuda)
    print("\n".join(top), flush=True)
    lines = []
    for shape in SHAPES:
        for dtype in (np.float32, np.float64):
            lines.append(evaluations(shape, dtype, compiled=given.compile, cpu=not given.no_cpu))
            print("  ".join(lines[-1]), flush=True)
    whole = [] if given.no_cpu else [fits(shape, np.float32) for shape in FITS]
    print("\n".join("  ".join(line) for line in whole))
    if given.markdown:
        about = __doc__.splitlines()[-2:]
        page = [f"# {TITLE}", "", "Made by `python -m perf.gpu --markdown`. " + " ".join(about), ""]
        page += [f"- {line}" for line in top]
        page += ["", "## Loss and gradient, Hessian-vector products", "", markdown_table(COLUMNS, lines)]
        if whole:
            title = "## Whole fits, l2=1e-4, each converged to the default tol, with the copy of X to the GPU"
            page += ["", title, "", markdown_table(FIT_COLUMNS, whole)]
        page.append("")
        given.markdown.write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
