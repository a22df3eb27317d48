"""Timing of contestants in one run: A B C A B C ..., so that a slow minute of the machine hits them all."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Longest wait for other threads to come to rest; OpenBLAS's spin for up to a tenth of a second.
PATIENCE = 0.3


@dataclass(frozen=True)
class Times:
    """Seconds of one contestant over the rounds."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Half of the range, relative to the median."""
        return (self.high - self.low) / 2 / self.median

    @property
    def around(self) -> str:
        """The spread for a table; beyond 100% it is no interval around the median, and the table says so."""
        return f"±{self.spread:.0%}" if self.spread <= 1 else f"(unsteady: range {2 * self.spread:.0f}x)"


UNSTEADY = (
    "'(unsteady: range 9x)' instead of ± says that the times of the rounds range over 9 times their median, as when "
    "other work held up one of them: measure again before relying on it."
)


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def settle() -> None:
    """Wait until no thread of this process runs: those of the contestant before spin for a while after their work."""
    end = time.perf_counter() + PATIENCE
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(0.004)
        if time.process_time() - before < 0.0005:
            return


def interleave(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, Times]:
    """Time every call once a round, in turn, each after an untimed call that wakes its threads."""
    for call in calls.values():  # compiles, allocates, faults pages in
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            settle()
            call()
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: Times(statistics.median(s), min(s), max(s)) for name, s in seconds.items()}
