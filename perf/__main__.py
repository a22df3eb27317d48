"""Command line of the benchmarks: python -m perf rows --quick"""

import argparse
import os
import sys

SLOWS_BLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # variables with which BLAS, ours and the peers', may be slower
SUBJECTS = ("rows", "objective", "epochs", "scaling", "coldstart", "profile", "fit", "all")


def options(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser("python -m perf", description="Measure nbsoftmax, its peers and the machine.")
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("shape", nargs="?", default="581000x54x7", help="for profile: rows x features x classes")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64", help="for profile")
    parser.add_argument("--problem", nargs="+", metavar="NAME", help="for fit: problems whose names begin with NAME")
    parser.add_argument("--solver", nargs="+", metavar="NAME", help="for fit: our solvers and scikit-learn's (all)")
    parser.add_argument(
        "--cap", type=float, metavar="S", help="for fit: time limit of a fit in seconds (60; quick: 0.3)"
    )
    parser.add_argument("--quick", action="store_true", help="a trial run: 1/20 of the rows, 1/3 of the rounds")
    parser.add_argument("--json", metavar="FILE", help="write all numbers")
    parser.add_argument("--markdown", metavar="FILE", help="write a page, such as perf/RESULTS.md")
    parser.add_argument("--plot", metavar="FILE", help="plot the roofline; for fit, suboptimality over time")
    return parser.parse_args(arguments)


def restart_without_blas_settings() -> None:
    """Restart this process without variables that slow BLAS down, if any is set; BLAS reads them when it is loaded."""
    if any(name in os.environ for name in SLOWS_BLAS):
        environment = {name: value for name, value in os.environ.items() if name not in SLOWS_BLAS}
        os.execve(sys.executable, [sys.executable, "-m", "perf", *sys.argv[1:]], environment)


def main() -> None:
    """Run the chosen benchmark, print the results, and write the files."""
    chosen = options(sys.argv[1:])
    restart_without_blas_settings()
    from perf import coldstart, epochs, fit, limits, objective, peers, profile, report, rows, scaling

    rounds, scale = (3, 20) if chosen.quick else (9, 1)
    for name in peers.missing():
        print(f"{name} is not installed and is skipped")
    for name, value in report.machine().items():
        print(f"{name}: {value}")
    if report.LOAD_BEFORE > 0.5:
        print("other processes use the cores: the times are not reliable")
    results = report.Results(limits.measure(quick=chosen.quick), chosen.quick)
    print(f"limits: {report.limits_line(results.limits)}")
    results.title = report.TITLES.get(chosen.subject, results.title)
    everything = chosen.subject == "all"
    if everything or chosen.subject == "rows":
        rows.run(results, rounds, scale)
    if everything or chosen.subject == "objective":
        objective.run(results, rounds, scale)
    if everything or chosen.subject == "epochs":
        epochs.run(results, rounds, scale)
    if everything or chosen.subject == "scaling":
        scaling.run(results, rounds, scale)
    if everything or chosen.subject == "coldstart":
        coldstart.run(results, rounds)
    if everything or chosen.subject == "profile":
        profile.run(results, chosen.shape, chosen.dtype, rounds, scale)
    if chosen.subject == "fit":
        cap = chosen.cap or (0.3 if chosen.quick else 60.0)
        fit.run(results, rounds, scale, chosen.problem, chosen.solver, cap)
    if chosen.json:
        results.write_json(chosen.json)
    if chosen.markdown:
        results.write_markdown(chosen.markdown, chosen.plot)
    if chosen.plot and chosen.subject == "fit":
        fit.plot(results.fits, chosen.plot)
    elif chosen.plot:
        results.plot(chosen.plot)


if __name__ == "__main__":
    main()
