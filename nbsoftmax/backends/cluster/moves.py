"""Which parts should move to other workers, so that all have about the same to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def moves(at: Sequence[str], sizes: Sequence[int], threads: Mapping[str, int]) -> dict[int, str]:
    """The parts that should move, with their new workers. The smallest ones move, and as few as possible.

    Parameters
    ----------
    at : sequence of str
        The worker of each part; parts of other workers than those of `threads` stay.
    sizes : sequence of int
        The number of rows in each part.
    threads : mapping of worker to its number of threads
    """
    held: dict[str, list[int]] = {worker: [] for worker in sorted(threads)}
    for i in sorted(range(len(at)), key=lambda i: sizes[i]):
        if at[i] in held:
            held[at[i]].append(i)
    load = {worker: sum(sizes[i] for i in parts) / threads[worker] for worker, parts in held.items()}
    found: dict[int, str] = {}
    for _ in at:
        most, least = max(held, key=load.__getitem__), min(held, key=load.__getitem__)
        i = next((i for i in held[most] if sizes[i] and i not in found), -1)
        if i < 0 or load[least] + sizes[i] / threads[least] >= load[most]:
            break
        held[most].remove(i)
        held[least].append(i)
        load[most] -= sizes[i] / threads[most]
        load[least] += sizes[i] / threads[least]
        found[i] = least
    return found
