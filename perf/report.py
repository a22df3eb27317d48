"""Results of the benchmarks as text tables, JSON, Markdown, and a plot.

A `Row` is one task: the times of all contestants, the limit for comparison, and the targets to reach.
"""

import datetime
import json
import os
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nbsoftmax.kernels.lang.simd import VECTOR_BYTES
from perf import peers
from perf.timing import UNSTEADY, Times, n_cores

# "speed-up" is the time of the best peer, calls with `out=` included, divided by ours; "against" is the time of a limit
# of the machine or of other work; "ratio" is our time divided by it.
COLUMNS = ["work", "dtype", "vectors", peers.OURS, *peers.PEERS, "speed-up", "against", "ratio", "bar: reached"]
ABOUT = (
    "Made by `python -m perf`; do not edit. Times are medians in milliseconds, ± half of the range, of "
    "contestants that took turns in one run. Speed-up: the time of the peers' fastest call divided by ours, which "
    "writes to an existing array if the function has `out=`; such calls of peers are included, and listed below "
    f"the table. A bar is a ratio to reach, followed by the measured ratio. {UNSTEADY}"
)
TITLES = {  # of the page, by what was measured; `perf.fit` has its own
    "results": "Speed of the functions of logits and of the objective",
    "all": "All measurements but those of fits",
    "rows": "Speed of the functions of logits",
    "numba": "Speed of the functions of logits in compiled code",
    "objective": "Speed of loss, gradient and Hessian-vector product",
    "epochs": "Speed of mini-batches: epochs of stochastic gradient descent",
    "sparse": "Speed of loss, gradient and Hessian-vector product of sparse data",
    "scaling": "Speed against the size of the data and the number of threads",
    "files": "Fits from files larger than memory",
    "coldstart": "Time of the import and of the first fit",
    "defaults": "Speed of fits with default settings",
    "dask": "Speed of a Dask cluster on one machine, and a model of larger ones",
    "profile": "Profile of one evaluation of loss and gradient",
}

WIDE = 64  # bytes of the vectors that the bars for wide vectors apply to
LOAD_BEFORE = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


@dataclass(frozen=True)
class Bar:
    """A target, and whether it is reached."""

    text: str
    value: float
    reached: bool


def at_least(least: float, value: float, of: str) -> Bar:
    """Target: `value`, a ratio to `of`, is at least `least`."""
    return Bar(f">= {least:g}x {of}", value, value >= least)


def at_most(most: float, value: float, of: str) -> Bar:
    """Target: `value`, a ratio to `of`, is at most `most`."""
    return Bar(f"<= {most:g}x {of}", value, value <= most)


@dataclass
class Row:
    """One task.

    `limit` names what takes `limit_seconds`: a limit of the machine, or other work for comparison. `flops` and
    `n_bytes`, if known, are the minimum for the task; they determine its place in the roofline plot.
    """

    work: str
    dtype: str
    times: dict[str, Times]
    limit: str = ""
    limit_seconds: float = 0.0
    flops: float = 0.0
    n_bytes: float = 0.0
    vectors: int = 8 * VECTOR_BYTES  # bits
    bars: list[Bar] = field(default_factory=list)

    @property
    def ours(self) -> float:
        """Median of our time in seconds."""
        return self.times[peers.OURS].median

    def of(self, peer: str) -> float | None:
        """Median of the peer's fastest call: the usual one, or one that writes to an existing array.

        Ours writes to an existing array, too; for large results, allocating a new one takes longer than the arithmetic.
        """
        return min((t.median for name, t in self.times.items() if name.split(",")[0] == peer), default=None)

    @property
    def best_peer(self) -> float | None:
        """Median of the fastest call of any peer."""
        return min((t for t in map(self.of, peers.PEERS) if t), default=None)

    def hold_to(self, *, peer: dict[str, float] | None = None, best: float = 0.0, limit: float = 0.0) -> None:
        """Set the bars: least ratios to single peers and to the best one, largest ratio to the limit; 0 is none."""
        for name, least in (peer or {}).items():
            other = self.of(name)
            if other:
                self.bars.append(at_least(least, other / self.ours, name))
        if best and self.best_peer:
            self.bars.append(at_least(best, self.best_peer / self.ours, "best peer"))
        if limit:
            self.bars.append(at_most(limit, self.ours / self.limit_seconds, self.limit))


def machine() -> dict[str, str]:
    """Processor, cores, vector width, versions and date, without paths and host name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    values = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    # A virtual machine may hide the name: family 25 of AMD is Zen 3 with model 1, Zen 4 with model 17.
    generation = f", family {values['cpu family']}, model {values['model']}" if "cpu family" in values else ""
    ours = {name: version(name) for name in ("numba", "llvmlite", "numpy", "scipy")}
    return {
        "processor": values.get("model name", platform.processor() or platform.machine()) + generation,
        "cores": str(n_cores()),
        "vectors": f"{8 * VECTOR_BYTES} bits",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {v}" for name, v in (ours | peers.installed()).items()),
        "load before": f"{LOAD_BEFORE:.2f} processes running or waiting, on average over a minute",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def limits_line(limits: dict[str, float]) -> str:
    """Limits of the machine in one sentence."""
    return (
        f"read {limits['read'] / 1e9:.1f} GB/s, copy {limits['copy'] / 1e9:.1f} GB/s (read + written), "
        f"matrix product {limits['gemm float64'] / 1e9:.0f} GFLOP/s float64, {limits['gemm float32'] / 1e9:.0f} float32"
    )


# --- tables -------------------------------------------------------------------------------------------


def cells(row: Row) -> list[str]:
    """Cells of a row of the table, in the order of COLUMNS."""

    def ms(name: str) -> str:
        t = row.times.get(name)
        return f"{t.median * 1e3:.{digits(t.median * 1e3)}f} {t.around}" if t else "-"

    peer, limit = row.best_peer, row.limit_seconds
    return [
        row.work,
        row.dtype,
        str(row.vectors),
        *map(ms, [peers.OURS, *peers.PEERS]),
        f"{peer / row.ours:.2f}" if peer else "-",
        f"{row.limit} {limit * 1e3:.{digits(limit * 1e3)}f}" if limit else "-",
        f"{row.ours / limit:.2f}" if limit else "-",
        "; ".join(f"{b.text}: {b.value:.2f} {'yes' if b.reached else 'NO'}" for b in row.bars) or "-",
    ]


def digits(x: float) -> int:
    """Number of decimals for three significant digits."""
    return 0 if x >= 100 else 1 if x >= 10 else 2 if x >= 1 else 3


def extras(row: Row) -> str:
    """Times of the contestants without a column, on one line; empty if there are none."""
    rest = [name for name in row.times if name not in {peers.OURS, *peers.PEERS, row.limit}]
    return ", ".join(f"{name} {row.times[name].median * 1e3:.2f} ms" for name in rest)


def table(header: list[str], body: list[list[str]]) -> str:
    """Format a table as text with aligned columns."""
    widths = [max(len(line[c]) for line in [header, *body]) for c in range(len(header))]
    ruled = [header, ["-" * w for w in widths], *body]
    return "\n".join("  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip() for line in ruled)


def text(title: str, rows: list[Row]) -> str:
    """Format a group of rows as text. Times are medians in ms, ± half of the range."""
    lines = [f"\n{title} (ms: median ±half of the range)", table(COLUMNS, [cells(row) for row in rows])]
    return "\n".join([*lines, *(f"  {r.work} {r.dtype}: also {extras(r)}" for r in rows if extras(r))])


def markdown_table(header: list[str], body: list[list[str]]) -> str:
    """Format a table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *body])


# --- files --------------------------------------------------------------------------------------------


@dataclass
class Results:
    """All results of one run: groups of rows, other tables, and numbers of whole fits."""

    limits: dict[str, float]
    quick: bool = False
    title: str = TITLES["results"]
    about: str = ABOUT
    machine: dict[str, str] = field(default_factory=dict)  # empty: that of this process
    groups: dict[str, list[Row]] = field(default_factory=dict)
    tables: dict[str, tuple[list[str], list[list[str]]]] = field(default_factory=dict)
    fits: list[dict[str, Any]] = field(default_factory=list)

    def facts(self) -> dict[str, str]:
        """Facts about the machine of this run, its limits last."""
        return self.machine or machine() | {"limits": limits_line(self.limits)}

    def add(self, title: str, rows: list[Row]) -> None:
        """Store and print a group of rows."""
        self.groups[title] = rows
        print(text(title, rows), flush=True)

    def add_table(self, title: str, header: list[str], body: list[list[str]]) -> None:
        """Store and print a table."""
        self.tables[title] = header, body
        print(f"\n{title}\n{table(header, body)}", flush=True)

    def write_json(self, path: str) -> None:
        """Write all numbers as JSON."""
        groups = {title: [asdict(row) for row in rows] for title, rows in self.groups.items()}
        tables = {t: [dict(zip(h, line, strict=True)) for line in body] for t, (h, body) in self.tables.items()}
        about = {"title": self.title, "about": self.about, "machine": self.facts()}
        found: dict[str, Any] = about | {"quick": self.quick, "limits": self.limits}
        Path(path).write_text(
            json.dumps(found | {"groups": groups, "tables": tables, "fits": self.fits}, indent=1) + "\n"
        )

    def write_markdown(self, path: str, picture: str | None) -> None:
        """Write the page of results, with the plot if there is one."""
        lines = [
            f"# {self.title}",
            "",
            self.about,
            "",
            *(["**A quick run on small data: the numbers are not meaningful.**", ""] if self.quick else []),
            *(f"- {name}: {value}" for name, value in self.facts().items()),
            *(f"- {name} was not installed." for name in peers.missing()),
        ]
        for title, rows in self.groups.items():
            lines += ["", f"## {title}", "", markdown_table(COLUMNS, [cells(row) for row in rows])]
            also = [f"- {row.work} {row.dtype}, {row.vectors} bits: {extras(row)}" for row in rows if extras(row)]
            lines += ["", "In the same turns:", "", *also] if also else []
        for title, (header, body) in self.tables.items():
            lines += ["", f"## {title}", "", markdown_table(header, body)]
        if picture:
            lines += ["", f"![Plot of the results]({os.path.relpath(picture, Path(path).parent)})"]
        Path(path).write_text("\n".join(lines) + "\n")

    def plot(self, path: str) -> None:
        """Plot the roofline with the tasks of known flops, and the functions of logits relative to a parallel copy."""
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt
        import numpy as np

        rows = [row for group in self.groups.values() for row in group]
        figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.5), layout="constrained")
        intensity = np.geomspace(0.5, 1e4, 200)  # flop per byte
        for dtype, colour in (("float64", "tab:blue"), ("float32", "tab:orange")):
            roof = np.minimum(intensity * self.limits["read"], self.limits[f"gemm {dtype}"])
            left.plot(intensity, roof / 1e9, color=colour, label=f"limit, {dtype}")
            for name, marker in zip([peers.OURS, *peers.PEERS], "o^sv", strict=True):
                mine = [r for r in rows if r.n_bytes and r.dtype == dtype and name in r.times]
                x = [r.flops / r.n_bytes for r in mine]
                y = [r.flops / r.times[name].median / 1e9 for r in mine]
                ours = name == peers.OURS
                label = name if dtype == "float64" and mine else None
                left.plot(x, y, marker, color=colour, mfc=colour if ours else "none", label=label)
        left.set(xscale="log", yscale="log", xlabel="flop per byte of X, read once", ylabel="GFLOP/s")
        left.set_title("Loss + gradient of a linear model")
        left.legend()
        bounded = [row for row in rows if row.limit == "copy"]
        for name, marker in zip([peers.OURS, *peers.PEERS], "o^sv", strict=True):
            have = [
                (row.times[name].median / row.limit_seconds, at) for at, row in enumerate(bounded) if name in row.times
            ]
            if have:
                right.plot(*zip(*have, strict=True), marker, mfc=None if name == peers.OURS else "none", label=name)
        if bounded:
            right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)
        right.axvline(1, color="black", lw=1)
        names = [f"{row.work} {row.dtype}, {row.vectors} bits" for row in bounded]
        right.set_yticks(range(len(bounded)), names, fontsize=6)
        right.grid(axis="y", lw=0.3)
        right.invert_yaxis()
        right.set(xscale="log", xlabel="time / time of a parallel copy")
        right.set_title("Functions of logits")
        figure.savefig(path, dpi=130)
        plt.close(figure)
