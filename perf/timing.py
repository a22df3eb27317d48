"""Timing of contestants in turn, A B C A B C ..., so that a slow phase of the machine affects all of them."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Longest wait in seconds for other threads to become idle; those of OpenBLAS spin for up to a tenth of a second.
LONGEST_WAIT = 0.3
# Seconds of untimed calls, which wake the threads: the system may start a woken thread on the core of the one that woke
# it, and moves it to an idle core only some milliseconds later.
WARM_UP = 0.03
# After so many seconds no further round begins, if there have been FEWEST_ROUNDS.
LONGEST, FEWEST_ROUNDS = 5.0, 3


@dataclass(frozen=True)
class Times:
    """Times of one contestant over the rounds, in seconds."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Half of the range, relative to the median."""
        return (self.high - self.low) / 2 / self.median

    @property
    def around(self) -> str:
        """Spread for a table; if it exceeds 100%, the range itself, because it is not an interval around the median."""
        return f"±{self.spread:.0%}" if self.spread <= 1 else f"(unsteady: range {2 * self.spread:.0f}x)"


UNSTEADY = (
    "'(unsteady: range 9x)' instead of ± means that the range of the times is 9 times their median, for example "
    "because other work interrupted one of them: measure again before relying on it."
)


def n_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def settle() -> None:
    """Wait until all threads of this process are idle: those of the previous contestant may spin after their work."""
    end = time.perf_counter() + LONGEST_WAIT
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(0.004)
        if time.process_time() - before < 0.0005:
            return


def interleave(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, Times]:
    """Time every call once in each round, in turn, after untimed calls for WARM_UP seconds, at least one.

    There are `rounds` rounds, fewer if they take longer than LONGEST.
    """
    for call in calls.values():  # the first call compiles and allocates
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    started = time.perf_counter()
    for done in range(rounds):
        if done >= FEWEST_ROUNDS and time.perf_counter() - started > LONGEST:
            break
        for name, call in calls.items():
            settle()
            warm = time.perf_counter() + WARM_UP
            call()
            while time.perf_counter() < warm:
                call()
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: Times(statistics.median(s), min(s), max(s)) for name, s in seconds.items()}
