"""An epoch of stochastic gradient descent, compared with a loop in PyTorch: python -m perf epochs

Mini-batches with momentum in float32, in a new random order for each epoch. The limit is the time to read X once.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import nbsoftmax as nbs
from nbsoftmax.kernels.sgd import MOMENTUM
from nbsoftmax.solvers.sgd import SGD
from perf import limits, peers
from perf.report import Results, Row
from perf.timing import interleave, n_cores

SHAPE = (60_000, 784, 10)
BATCHES = (32, 256, 4096)
RATE, MU = 1e-3, 0.9
BAR = 3.0  # target: samples per second, relative to PyTorch's loop


def run(results: Results, rounds: int, scale: int) -> None:
    """Measure an epoch for each batch size; `scale` divides the rows."""
    m, n_features, n_classes = SHAPE[0] // scale, *SHAPE[1:]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((m, n_features), np.float32)
    y = rng.integers(0, n_classes, m)
    rows = []
    for batch_size in BATCHES:
        contestants = {peers.OURS: ours(X, y, n_classes, batch_size)}
        if "PyTorch" in peers.installed():
            contestants["PyTorch"] = torch(X, y, n_classes, batch_size)
        order = rng.permutation(m)
        found = {
            name: peers.Contestant(partial(epoch, order), lambda params: (params,))
            for name, epoch in contestants.items()
        }
        peers.agree(found, peers.TOLERANCE["float32"])
        calls: dict[str, Callable[[], Any]] = {
            name: lambda epoch=epoch: epoch(rng.permutation(m)) for name, epoch in contestants.items()
        }
        times = interleave(calls | {"read": lambda: limits.read(X)}, rounds)
        row = Row(
            f"{m} x {n_features} x {n_classes} in batches of {batch_size}", "float32", times, "read",
            times["read"].median,
        )  # fmt: skip
        row.hold_to(peer={"PyTorch": BAR})
        rows.append(row)
    results.add("An epoch of mini-batches with momentum, in random order", rows)


def ours(X: Any, y: Any, n_classes: int, batch_size: int) -> Callable[[Any], Any]:
    """Make a function that runs an epoch in a given order, from parameters 0, and returns the parameters (K, N + 1)."""
    objective = nbs.Objective(X, y, n_classes=n_classes)
    rates = np.full(-(-len(X) // batch_size), RATE)

    def epoch(order: Any) -> Any:
        state = SGD().initial_state(np.zeros(objective.shape))
        objective.descend(state, order, batch_size, rates, kind=MOMENTUM, momentum=MU, n_before=0)
        return state.params.reshape(objective.shape)

    return epoch


def torch(X: Any, y: Any, n_classes: int, batch_size: int) -> Callable[[Any], Any]:
    """Make the same function with PyTorch's nn.Linear, cross_entropy and optim.SGD."""
    import torch
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(n_cores())
    samples, labels = torch.from_numpy(X), torch.from_numpy(y)

    def epoch(order: Any) -> Any:
        linear = torch.nn.Linear(X.shape[1], n_classes)
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
        optimizer = torch.optim.SGD(linear.parameters(), lr=RATE, momentum=MU)
        picked = torch.from_numpy(order)
        for start in range(0, len(X), batch_size):
            batch = picked[start : start + batch_size]
            optimizer.zero_grad(set_to_none=True)
            loss = cross_entropy(linear(samples[batch]), labels[batch], reduction="sum") / batch_size
            loss.backward()
            optimizer.step()
        return np.column_stack([linear.weight.detach().numpy(), linear.bias.detach().numpy()])

    return epoch
