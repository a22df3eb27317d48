"""Command line of the measurements: python -m perf rows --quick"""

import argparse
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perf import report

BLAS_SETTINGS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # settings that make BLAS, ours and the peers', slower
ALL = ("rows", "numba", "objective", "epochs", "sparse", "scaling", "coldstart", "profile")
SUBJECTS = (*ALL, "fit", "defaults", "sparse-fit", "files", "dask", "results", "all")
PAGE = ("rows", "objective")  # the subjects of "results", which are those of perf/RESULTS.md
FITS = ("fit", "sparse-fit")
PLOTTED = (*PAGE, "results", "all", *FITS)


def options(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser("python -m perf", description="Measure nbsoftmax, its peers and the machine.")
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("shape", nargs="?", default="581000x54x7", help="for profile: rows x features x classes")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64", help="for profile")
    parser.add_argument("--problem", nargs="+", metavar="NAME", help="for fits: problems whose names begin with NAME")
    parser.add_argument(
        "--solver", nargs="+", metavar="NAME", help="for fits: solvers, ours and scikit-learn's; all by default"
    )
    parser.add_argument(
        "--cap",
        type=float,
        metavar="S",
        help="for fits: seconds of a single fit (60, defaults 20, sparse 4; quick: 0.3)",
    )
    parser.add_argument(
        "--vectors",
        nargs="+",
        type=int,
        metavar="BITS",
        help="use vectors of 512, 256 or 128 bits, the peers too; several widths: one run for each, on one page",
    )
    parser.add_argument(
        "--beside",
        nargs="+",
        metavar="FILE",
        help="put this run beside others on the page: what --json wrote, for example on a CPU with other vectors",
    )
    parser.add_argument("--quick", action="store_true", help="a 20th of the rows, a third of the rounds")
    parser.add_argument("--json", metavar="FILE", help="write all numbers")
    parser.add_argument("--markdown", metavar="FILE", help="write a page, such as perf/RESULTS.md")
    parser.add_argument("--plot", metavar="FILE", help="draw the roofline; for fit, suboptimality over time")
    chosen = parser.parse_args(arguments)
    if chosen.plot and chosen.subject not in PLOTTED:
        parser.error(f"--plot: there is no plot of {chosen.subject}, only of {', '.join(PLOTTED)}")
    return chosen


def restart_with(bits: int | None) -> None:
    """Start this process again where its environment variables must differ; BLAS and others read them when loaded.

    The settings that make BLAS slower are removed; those for narrower vectors are set.
    """
    environment = {name: value for name, value in os.environ.items() if name not in BLAS_SETTINGS}
    if bits is not None:
        from nbsoftmax.kernels.lang.simd import VECTOR_BYTES
        from perf import widths

        if bits > 8 * VECTOR_BYTES:
            sys.exit(f"this CPU has vectors of {8 * VECTOR_BYTES} bits, not {bits}")
        narrower = widths.settings(bits // 8)
        if bits < 8 * VECTOR_BYTES or narrower.items() <= os.environ.items():
            environment |= narrower
    if environment != os.environ:
        os.execve(sys.executable, [sys.executable, "-m", "perf", *sys.argv[1:]], environment)


def main() -> None:
    """Measure what is asked for, print it, and write the files."""
    chosen = options(sys.argv[1:])
    widths_of_vectors = chosen.vectors or [None]
    if len(widths_of_vectors) == 1:
        restart_with(widths_of_vectors[0])
    from perf import limits, peers, report, widths

    others = [*map(widths.read_one, chosen.beside or [])]  # before measuring, which takes long
    if len(widths_of_vectors) > 1:
        write(several(chosen), others, chosen)
        return
    for name in peers.missing():
        print(f"{name} is not installed and is skipped")
    for name, value in report.machine().items():
        print(f"{name}: {value}")
    if report.LOAD_BEFORE > 0.5:
        print("other processes use the cores: the times mean little")
    results = report.Results(limits.measure(quick=chosen.quick), chosen.quick)
    print(f"limits: {report.limits_line(results.limits)}")
    results.title = report.TITLES.get(chosen.subject, results.title)
    measure(results, chosen)
    results.machine = results.facts()
    write([results], others, chosen)


def several(chosen: argparse.Namespace) -> "list[report.Results]":
    """Measure with each of several vector widths, in a process of its own."""
    from perf import widths

    arguments = [chosen.subject, *(["--quick"] if chosen.quick else [])]
    for name in ("problem", "solver", "cap"):
        value = getattr(chosen, name)
        if value:
            arguments += [f"--{name}", *(value if isinstance(value, list) else [str(value)])]
    return widths.measure(chosen.vectors, arguments)


def write(runs: "list[report.Results]", others: "list[report.Results]", chosen: argparse.Namespace) -> None:
    """Write the files that the command line asks for; other runs are on the page, but not in the JSON."""
    from perf import fit, widths

    if chosen.json:
        widths.side_by_side(runs).write_json(chosen.json)
    results = widths.side_by_side([*runs, *others])
    if chosen.markdown:
        results.write_markdown(chosen.markdown, chosen.plot)
    if chosen.plot and chosen.subject in FITS:
        fit.plot(results.fits, chosen.plot)
    elif chosen.plot:
        results.plot(chosen.plot)


def measure(results: "report.Results", chosen: argparse.Namespace) -> None:
    """Run the measurements of the subject; "all" is every subject but the fits, which take long."""
    from perf import (
        cluster,
        coldstart,
        defaults,
        epochs,
        files,
        fit,
        numba_code,
        objective,
        profile,
        rows,
        scaling,
        sparse,
        sparse_fit,
    )

    rounds, scale = (3, 20) if chosen.quick else (9, 1)
    subjects = {
        "rows": lambda: rows.run(results, rounds, scale),
        "numba": lambda: numba_code.run(results, rounds, scale),
        "objective": lambda: objective.run(results, rounds, scale),
        "epochs": lambda: epochs.run(results, rounds, scale),
        "sparse": lambda: sparse.run(results, rounds, scale),
        "scaling": lambda: scaling.run(results, rounds, scale),
        "coldstart": lambda: coldstart.run(results, rounds),
        "profile": lambda: profile.run(results, chosen.shape, chosen.dtype, rounds, scale),
    }
    if chosen.subject == "fit":
        cap = chosen.cap or (0.3 if chosen.quick else 60.0)
        fit.run(results, rounds, scale, chosen.problem, chosen.solver, cap)
    if chosen.subject == "sparse-fit":
        cap = chosen.cap or (0.3 if chosen.quick else 4.0)
        sparse_fit.run(results, rounds, scale, chosen.problem, chosen.solver, cap)
    if chosen.subject == "files":
        files.run(results, scale)
    if chosen.subject == "dask":
        cluster.run(results, rounds, scale)
    if chosen.subject == "defaults":
        defaults.run(results, rounds, scale, chosen.problem, chosen.cap or (0.3 if chosen.quick else 20.0))
    for name, run in subjects.items():
        if chosen.subject in (name, "all") or (chosen.subject == "results" and name in PAGE):
            run()


if __name__ == "__main__":
    main()
