"""Report on the compiled CUDA kernels: python -m perf.cuda_report (make cuda-report)

The page has the registers, spills, stack and shared memory of every variant for every generation of GPUs, as ptxas
reports them, and the occupancy that the registers allow. No GPU is needed, and no time is measured. The command fails
if a variant needs more registers, or keeps more values in memory, than its budget. The page contains a hash of the
source code of the kernels; `make test-cuda` fails if the code has changed since.
"""

import ast
import hashlib
import inspect
import re
import subprocess
import sys
import tempfile
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

GENERATIONS = ((7, 5), (8, 0), (9, 0), (10, 0), (12, 0))
REGISTERS, THREADS = (
    65536,
    {(7, 5): 1024, (8, 0): 2048, (9, 0): 2048, (10, 0): 2048, (12, 0): 1536},
)  # of a multiprocessor
WIDE_LOADS = r"\bld\.global\.v(4\.[fbu]32|2\.[fbu]64)"  # loads of 16 bytes
PAGE = Path(__file__).resolve().parent / "CUDA.md"


class Use(NamedTuple):
    """Resources that one variant needs on one generation."""

    registers: int
    stack: int
    spills: int
    shared: int

    def occupancy(self, generation: tuple[int, int], threads: int) -> float:
        """Share of the threads of a multiprocessor that the registers allow, in whole blocks."""
        blocks = REGISTERS // (-(-self.registers // 8) * 8 * threads)
        return min(1.0, blocks * threads / THREADS[generation])


@cache
def _front_end(kernel: Any, signature: Any, threads: int, least_blocks: int) -> Any:
    """Numba's library of a kernel before code generation, which is the same for all GENERATIONS.

    Type inference and lowering take 80% of `cuda.compile_ptx`, which repeats them for each generation. The function
    called here is a private one of numba-cuda, in the required release series; a test compares the PTX with that of
    `cuda.compile_ptx`.
    """
    from numba.cuda import compiler

    bounds = threads, least_blocks
    return compiler._compile_pyfunc_with_fixup(
        kernel, signature, device=False, abi="numba", cc=GENERATIONS[0], launch_bounds=bounds
    )[0]


def ptx(kernel: Any, signature: Any, generation: tuple[int, int], threads: int, least_blocks: int = 1) -> str:
    """PTX of a kernel for a generation of GPUs."""
    text: str = _front_end(kernel, signature, threads, least_blocks).get_asm_str(cc=generation)
    return text


def sources() -> str:
    """Hash of the kernels' code; comments, docstrings and layout do not affect it."""
    from nbsoftmax.kernels.cuda import curvature, fused, loads, products, rows, sums

    found = hashlib.sha256()
    for module in (curvature, fused, loads, products, rows, sums):
        tree = ast.parse(inspect.getsource(module))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        found.update(ast.unparse(tree).encode())
    return found.hexdigest()[:16]


def assembler() -> str | None:
    """Path of ptxas, from the package nvidia-cuda-nvcc; None where it is not installed."""
    import importlib.util

    spec = importlib.util.find_spec("nvidia")
    for folder in [] if spec is None else list(spec.submodule_search_locations or []):
        for path in sorted(Path(folder).glob("*/bin/ptxas")):
            return str(path)
    return None


def use(text: str, generation: tuple[int, int]) -> Use:
    """Assemble PTX, and return the resources it needs."""
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
    """Number of bytes of a load, from its name in PTX."""
    vector, bits = re.search(r"\.v(\d)\b", load), re.search(r"\.[bfsu](\d+)$", load)
    return (int(vector[1]) if vector else 1) * (int(bits[1]) if bits else 0) // 8


def complaints(variant: Any, generation: tuple[int, int], text: str, used: Use) -> list[str]:
    """Violations of the rules by a variant on a generation."""
    # Instructions that float32 kernels must not have in float64; the losses and the outer sums are float64.
    forbidden = "mul|fma|div|sub|ex2|lg2" if variant.sums else "add|mul|fma|div|sub|ex2|lg2"
    found = {
        f"is not for sm_{generation[0]}{generation[1]}": f".target sm_{generation[0]}{generation[1]}" not in text,
        "has arrays in memory": "__local_depot" in text,
        f"has a stack of {used.stack} bytes, over {variant.most_stack}": used.stack > variant.most_stack,
        "spills": used.spills > 0 and variant.most_stack == 0,
        f"takes {used.registers} registers, over {variant.most_registers}": used.registers > variant.most_registers,
        "computes in float64": variant.dtype == np.float32 and bool(re.search(rf"\b({forbidden})\S*\.f64", text)),
        "loads X in parts" if variant.wide else "loads 16 bytes": bool(re.search(WIDE_LOADS, text)) != variant.wide,
    }
    return [said for said, so in found.items() if so]


def line(name: str) -> tuple[str, list[str]]:
    """Line of the table for one variant, and its violations of the rules."""
    from perf.cuda_variants import VARIANTS

    variant, uses, wrong = VARIANTS[name], dict[Any, Use](), []
    for generation in GENERATIONS:
        text = ptx(*variant.compiled(generation))
        uses[generation] = use(text, generation)
        said = complaints(variant, generation, text, uses[generation])
        wrong += [f"{name}, sm_{generation[0]}{generation[1]}: {fault}" for fault in said]
    middle = uses[8, 0]
    widths = sorted({_width(found) for found in re.findall(r"\bld\.global\S*", text)})
    registers = " | ".join(str(u.registers) for u in uses.values())
    share = middle.occupancy((8, 0), variant.threads)
    cells = variant.threads, registers, middle.shared, max(u.stack for u in uses.values()), f"{share:.0%}"
    return f"| {name} | {' | '.join(map(str, cells))} | {', '.join(map(str, widths))} |", wrong


def heading() -> str:
    """Beginning of the page, down to the header of the table."""
    lines = [
        "# CUDA kernels, as compiled",
        "",
        "Made by `make cuda-report`; do not edit. Registers of a thread by generation. Every shape is assembled, and "
        "the page is written only if none takes more than its budget. The fused kernels leave registers to other "
        "threads, and keep some values in memory (stack, the most of all generations). Occupancy is that of sm_80 by "
        "registers alone; loads are the bytes that a thread loads at once from global memory. Times are in "
        "`perf/GPU.md`.",
        "",
        f"Sources: {sources()}.",
        "",
        "| kernel | threads | "
        + " | ".join(f"sm_{a}{b}" for a, b in GENERATIONS)
        + " | shared bytes | stack bytes | occupancy | loads |",
        "|---|---|" + "---|" * (len(GENERATIONS) + 4),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the page, and write it if no variant violates the rules."""
    sys.path.insert(0, str(PAGE.parent.parent))
    from perf.cuda_variants import VARIANTS

    top = heading()
    with Pool() as pool:
        found = pool.map(line, VARIANTS, chunksize=4)
    page = top + "\n".join(row for row, _ in found) + "\n"
    print(page)
    wrong = [fault for _, faults in found for fault in faults]
    if wrong:
        sys.exit("\n".join([*wrong, f"{PAGE} was left as it is."]))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
