"""What the compiler makes of the CUDA kernels: python -m perf.cuda_report (make cuda-report)

Registers, spills, stack and shared memory of every variant on every generation of GPUs, as ptxas reports them, and how
many threads a multiprocessor holds by these registers alone. No GPU is needed, and nothing here is a time.
"""

import re
import subprocess
import sys
import tempfile
from multiprocessing import Pool
from pathlib import Path
from typing import Any, NamedTuple

GENERATIONS = ((7, 5), (8, 0), (9, 0), (10, 0), (12, 0))
REGISTERS, THREADS = 65536, {(7, 5): 1024, (8, 0): 2048, (9, 0): 2048, (10, 0): 2048, (12, 0): 1536}  # of one processor
WIDE_LOADS = r"\bld\.global\.v(4\.[fbu]32|2\.[fbu]64)"  # of 16 bytes
PAGE = Path(__file__).resolve().parent / "CUDA.md"


class Use(NamedTuple):
    """What one variant takes on one generation."""

    registers: int
    stack: int
    spills: int
    shared: int

    def occupancy(self, generation: tuple[int, int], threads: int) -> float:
        """The share of a multiprocessor's threads that fit by registers, in whole blocks."""
        blocks = REGISTERS // (-(-self.registers // 8) * 8 * threads)
        return min(1.0, blocks * threads / THREADS[generation])


def assembler() -> str | None:
    """Path of ptxas, from the package nvidia-cuda-nvcc; None where it is not installed."""
    import importlib.util

    spec = importlib.util.find_spec("nvidia")
    for folder in [] if spec is None else list(spec.submodule_search_locations or []):
        for path in sorted(Path(folder).glob("*/bin/ptxas")):
            return str(path)
    return None


def use(text: str, generation: tuple[int, int]) -> Use:
    """Assemble PTX and read what it takes."""
    program = assembler()
    assert program is not None, "install cuda-toolkit[nvcc]"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(text, encoding="utf-8")
        command = [
            program,
            "-v",
            f"-arch=sm_{generation[0]}{generation[1]}",
            str(source),
            "-o",
            f"{folder}/kernel.cubin",
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr

    def number(pattern: str) -> int:
        found = re.search(pattern, said)
        return int(found[1]) if found else 0

    spills = number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads")
    return Use(number(r"Used (\d+) registers"), number(r"(\d+) bytes stack"), spills, number(r"(\d+) bytes smem"))


def _width(load: str) -> int:
    """Bytes of a load, from its name in PTX."""
    vector, bits = re.search(r"\.v(\d)\b", load), re.search(r"\.[bfsu](\d+)$", load)
    return (int(vector[1]) if vector else 1) * (int(bits[1]) if bits else 0) // 8


def line(name: str) -> str:
    """What one variant takes, as a line of the table."""
    from numba import cuda

    from tests.gpu.variants import VARIANTS

    variant, uses = VARIANTS[name], dict[Any, Use]()
    for generation in GENERATIONS:
        kernel, signature, _, *bounds = variant.compiled(generation)
        text = cuda.compile_ptx(kernel, signature, cc=generation, launch_bounds=tuple(bounds))[0]
        uses[generation] = use(text, generation)
    middle = uses[8, 0]
    widths = sorted({_width(found) for found in re.findall(r"\bld\.global\S*", text)})
    registers = " | ".join(
        f"{u.registers}{f' ({u.spills} spilled, stack {u.stack})' if u.spills or u.stack else ''}"
        for u in uses.values()
    )
    share = middle.occupancy((8, 0), variant.threads)
    return (
        f"| {name} | {variant.threads} | {registers} | {middle.shared} | {share:.0%} | {', '.join(map(str, widths))} |"
    )


def main() -> None:
    """Print the page and write it."""
    sys.path.insert(0, str(PAGE.parent.parent))
    from tests.gpu.variants import VARIANTS

    lines = [
        "# CUDA kernels, as compiled",
        "",
        "Made by `make cuda-report`; do not edit. Registers of a thread by generation, with the bytes spilled where "
        "there are any, and the bytes of stack; a test asserts that there are none. Occupancy is that of "
        "sm_80 by registers alone; loads are the bytes that a thread loads at once from global memory. Nothing was "
        "run on a GPU.",
        "",
        "| kernel | threads | "
        + " | ".join(f"sm_{a}{b}" for a, b in GENERATIONS)
        + " | shared bytes | occupancy | loads |",
        "|---|---|" + "---|" * (len(GENERATIONS) + 3),
    ]
    with Pool() as pool:
        lines += pool.map(line, VARIANTS, chunksize=4)
    page = "\n".join(lines) + "\n"
    print(page)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
