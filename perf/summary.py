"""The table of measured ratios in the README, from the pages of results: python -m perf.summary (writes README.md)

Each cell is the time of the fastest peer divided by ours, read from the page that is named in its line. A test compares
the table with the pages.
"""

import re
from pathlib import Path

PERF = Path(__file__).resolve().parent
README = PERF.parent / "README.md"
BEGIN, END = "<!-- measured ratios: python -m perf.summary -->", "<!-- end of measured ratios -->"
# The name of a line on perf/RESULTS.md or SPARSE.md, its dtype, and what the README calls it.
WORK = (
    ("RESULTS.md", "softmax 1000000 x 10", "float64", "softmax, 1,000,000 x 10", "PyTorch, JAX"),
    ("RESULTS.md", "softmax 300001 x 37", "float32", "softmax, 300,001 x 37, float32", "PyTorch, JAX"),
    (
        "RESULTS.md", "cross-entropy + gradient 10000 x 1000", "float64",
        "cross-entropy and gradient, 10,000 x 1000", "scikit-learn, PyTorch, JAX",
    ),
    (
        "RESULTS.md", "581000 x 54 x 7", "float64", "loss and gradient, 581,000 x 54, 7 classes",
        "scikit-learn, PyTorch, JAX",
    ),
    (
        "RESULTS.md", "1000000 x 20 x 2", "float64", "loss and gradient, 1,000,000 x 20, 2 classes",
        "scikit-learn, PyTorch, JAX",
    ),
    (
        "RESULTS.md", "100000 x 512 x 100", "float64", "loss and gradient, 100,000 x 512, 100 classes",
        "scikit-learn, PyTorch, JAX",
    ),
    (
        "SPARSE.md", "11314 x 130107 x 20, 1.3 M", "float64", "loss and gradient, sparse, 11,314 x 130,107, 20 classes",
        "scikit-learn",
    ),
)  # fmt: skip
# The name of a problem on perf/FITS.md, and what the README calls it.
FITS = (
    ("letterrecognition-standardised-C1:", "whole fit, standardised, proven to 1e-6: letters, 20,000 x 16, 26 classes"),
    ("digits", "whole fit, standardised, proven to 1e-6: digits, 64 features, 10 classes"),
)
WIDTHS = (512, 256)


def cells_of(page: str, name: str, dtype: str, bits: int) -> list[str]:
    """The cells of the first line with this name, dtype and vectors of so many bits."""
    for line in (PERF / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[:3] == [name, dtype, str(bits)]:
            return cells
    raise ValueError(f"perf/{page} has no line {name}, {dtype}, {bits} bits")


def of_work(page: str, name: str, dtype: str, bits: int) -> str:
    """The speed-up on a line: of our call with `out=`, if the function has it."""
    return f"{float(cells_of(page, name, dtype, bits)[7]):.1f}x"


def with_new_array(page: str, name: str, dtype: str, bits: int) -> str | None:
    """The speed-up of our call that returns a new array, as the peers do; None if the function has no `out=`."""
    text = (PERF / page).read_text(encoding="utf-8")
    ours = re.search(rf"^- {re.escape(name)} {dtype}, {bits} bits: nbsoftmax, new array ([\d.]+) ms", text, re.M)
    if ours is None:
        return None
    times = [float(cell.split()[0]) for cell in cells_of(page, name, dtype, bits)[4:7] if cell != "-"]
    return f"{min(times) / float(ours[1]):.1f}x"


def of_fit(name: str, bits: int) -> str:
    """The ratio of the best of scikit-learn's solvers to ours at 1e-6, with the time of the proof."""
    text = (PERF / "FITS.md").read_text(encoding="utf-8")
    for section in text.split("\n## ")[1:]:
        if section.startswith(name) and f"vectors of {bits} bits" in section.splitlines()[0]:
            found = re.search(r"^\| nbsoftmax \|.*?\| (>= )?([\d.]+), [\d.]+ \|", section, re.MULTILINE)
            assert found is not None, section
            return f"{'at least ' if found[1] else ''}{float(found[2]):.1f}x"
    raise ValueError(f"perf/FITS.md has no problem {name} with {bits} bits")


def block() -> str:
    """The part of the README between BEGIN and END, both included."""
    lines = [BEGIN, "", "| work, two cores | time of the fastest of | AVX-512 | AVX2 |", "|---|---|---|---|"]
    for page, name, dtype, shown, peers in WORK:
        ratios = [of_work(page, name, dtype, bits) for bits in WIDTHS]
        new = [found for bits in WIDTHS if (found := with_new_array(page, name, dtype, bits))]
        lines.append(f"| {shown}{', `out=`' if new else ''} | {peers} | {' | '.join(ratios)} |")
        if new:
            lines.append(f"| {shown}, new array | {peers} | {' | '.join(new)} |")
    for name, shown in FITS:
        lines.append(f"| {shown} | scikit-learn's solvers | {' | '.join(of_fit(name, bits) for bits in WIDTHS)} |")
    return "\n".join([*lines, "", END])


def main() -> None:
    """Write the table into the README."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    README.write_text(before + block() + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
