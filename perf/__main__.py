"""Command line of the measurements: python -m perf rows --quick"""

import argparse
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perf import report

BLAS_SETTINGS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # settings that make BLAS, ours and the peers', slower
SUBJECTS = ("rows", "numba", "objective", "epochs", "sparse", "scaling", "coldstart", "profile", "fit", "all")


def options(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser("python -m perf", description="Measure nbsoftmax, its peers and the machine.")
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("shape", nargs="?", default="581000x54x7", help="for profile: rows x features x classes")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64", help="for profile")
    parser.add_argument("--problem", nargs="+", metavar="NAME", help="for fit: problems whose names begin with NAME")
    parser.add_argument(
        "--solver", nargs="+", metavar="NAME", help="for fit: solvers, ours and scikit-learn's; all by default"
    )
    parser.add_argument("--cap", type=float, metavar="S", help="for fit: seconds of a single fit (60; quick: 0.3)")
    parser.add_argument("--quick", action="store_true", help="a 20th of the rows, a third of the rounds")
    parser.add_argument("--json", metavar="FILE", help="write all numbers")
    parser.add_argument("--markdown", metavar="FILE", help="write a page, such as perf/RESULTS.md")
    parser.add_argument("--plot", metavar="FILE", help="draw the roofline; for fit, suboptimality over time")
    return parser.parse_args(arguments)


def without_blas_settings() -> None:
    """Start this process again without the settings that make BLAS slower, which BLAS reads when it is loaded."""
    if any(name in os.environ for name in BLAS_SETTINGS):
        environment = {name: value for name, value in os.environ.items() if name not in BLAS_SETTINGS}
        os.execve(sys.executable, [sys.executable, "-m", "perf", *sys.argv[1:]], environment)


def main() -> None:
    """Measure what is asked for, print it, and write the files."""
    chosen = options(sys.argv[1:])
    without_blas_settings()
    from perf import fit, limits, peers, report

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
    if chosen.json:
        results.write_json(chosen.json)
    if chosen.markdown:
        results.write_markdown(chosen.markdown, chosen.plot)
    if chosen.plot and chosen.subject == "fit":
        fit.plot(results.fits, chosen.plot)
    elif chosen.plot:
        results.plot(chosen.plot)


def measure(results: "report.Results", chosen: argparse.Namespace) -> None:
    """Run the measurements of the subject; "all" is every subject but the fits, which take hours."""
    from perf import coldstart, epochs, fit, numba_code, objective, profile, rows, scaling, sparse

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
    for name, run in subjects.items():
        if chosen.subject in (name, "all"):
            run()


if __name__ == "__main__":
    main()
