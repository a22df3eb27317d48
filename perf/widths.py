"""Narrower vectors than this CPU's, for tests and benchmarks: settings that make this package and others use them.

A page of several widths has one run for each, and their rows side by side.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from perf.report import Bar, Results, Row
from perf.timing import Times

# By vector width in bytes: name and features, as Numba expects them, of a CPU with vectors of at most this width.
NARROWER = {
    32: ("znver3", "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+sse4.2,+popcnt,+lzcnt"),
    16: ("generic", "+sse2"),  # the minimum of x86-64: no fused multiply-add, no rounding instruction
}
# The same for those we compare with. The library of matrix products, NumPy's and SciPy's, is OpenBLAS.
OTHERS = {
    32: {
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    },
    16: {
        "OPENBLAS_CORETYPE": "Nehalem",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2",
    },
}


def numba_settings(n_bytes: int) -> dict[str, str]:
    """Environment variables with which Numba compiles for vectors of `n_bytes` bytes."""
    name, features = NARROWER[n_bytes]
    return {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}


def settings(n_bytes: int) -> dict[str, str]:
    """Environment variables with which this package and its peers use vectors of `n_bytes` bytes, if that is narrow."""
    return numba_settings(n_bytes) | OTHERS[n_bytes] if n_bytes in NARROWER else {}


def read(path: str | Path) -> Results:
    """The results that `Results.write_json` wrote."""
    found: dict[str, Any] = json.loads(Path(path).read_text())
    results = Results(found["limits"], found["quick"], found["title"], found["about"], machine=found["machine"])
    for title, rows in found["groups"].items():
        results.groups[title] = [
            Row(
                **{
                    **row,
                    "times": {name: Times(**t) for name, t in row["times"].items()},
                    "bars": [Bar(**bar) for bar in row["bars"]],
                }
            )
            for row in rows
        ]
    for title, lines in found["tables"].items():
        header = list(lines[0])
        results.tables[title] = header, [list(line.values()) for line in lines]
    results.fits = found["fits"]
    return results


def read_one(path: str | Path) -> Results:
    """The results of a run with one width of vectors, for `side_by_side`; ends the program if it cannot be one."""
    try:
        run = read(path)
        vectors = run.machine["vectors"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise SystemExit(f"{path} is not what --json wrote: {error}") from None
    if ";" in vectors:
        raise SystemExit(f"{path} holds runs with {vectors}; give the JSON of one run")
    return run


def side_by_side(runs: list[Results]) -> Results:
    """The rows of several runs in one table for each group, those of the same work below each other.

    Fits of runs with the same vectors follow one another: a page may be measured in several parts.
    """
    if len(runs) == 1:
        return runs[0]
    runs = sorted(runs, key=lambda run: -int(run.machine["vectors"].split()[0]))  # the widest vectors first
    first = runs[0]
    other = next((run for run in runs if run.groups.keys() != first.groups.keys()), first)
    if other is not first:
        raise SystemExit(f"'{first.title}' and '{other.title}' have no page together")
    vectors = list(dict.fromkeys(run.machine["vectors"] for run in runs))
    labels = [run.machine["vectors"] if len(vectors) > 1 else "" for run in runs]
    fits = [
        f | {"problem": f"{f['problem']}, {label}" if label else f["problem"]}
        for run, label in zip(runs, labels, strict=True)
        for f in run.fits
    ]
    page = replace(first, groups={}, tables={}, machine=dict(first.machine), fits=fits)
    page.machine["vectors"] = "; ".join(vectors)
    for name in page.machine.keys() - {"vectors"}:
        values = [run.machine[name] for run in runs]
        if len(set(values)) > 1:
            pairs = zip(labels, values, strict=True)
            page.machine[name] = "; ".join(f"{label}: {value}" if label else value for label, value in pairs)
    for title, rows in first.groups.items():
        others = [{(row.work, row.dtype): row for row in run.groups[title]} for run in runs]
        page.groups[title] = [rows_of[row.work, row.dtype] for row in rows for rows_of in others]
    for run, label in zip(runs, labels, strict=True):
        for title, table in run.tables.items():
            page.tables[f"{title}, vectors of {label}" if label else title] = table
    return page


def measure(widths: list[int], arguments: list[str]) -> list[Results]:
    """Run `python -m perf` with these arguments in one process for each width in bits."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for bits in widths:
            path = os.path.join(folder, str(bits))
            command = [sys.executable, "-m", "perf", *arguments, "--vectors", str(bits), "--json", path]
            subprocess.run(command, check=True)
            runs.append(read(path))
    return runs
