"""`import nbsoftmax` compiles nothing and loads nothing heavy."""

import os
import subprocess
import sys
import textwrap

import pytest

COUNT_COMPILED = """
    import sys
    from numba.core import event

    class Count(event.Listener):
        compiled = 0
        def on_start(self, e):
            Count.compiled += 1
        def on_end(self, e):
            pass

    event.register("numba:compile", Count())

    def signatures():
        found = 0
        for name, module in list(sys.modules.items()):
            if name.startswith("nbsoftmax"):
                found += sum(len(f.signatures) for f in vars(module).values() if hasattr(f, "py_func"))
        return found

    import nbsoftmax as nbs
"""


def run(script):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_the_package_and_all_its_names_compiles_nothing():
    # The first call afterwards shows that the count would see what is compiled, or loaded from the cache.
    script = textwrap.dedent(COUNT_COMPILED) + textwrap.dedent("""
        for name in nbs.__all__:
            getattr(nbs, name)
        print(Count.compiled, signatures())
        nbs.softmax([1.0, 2.0])
        print(signatures())
    """)
    compiled, at_import, after_a_call = map(int, run(script))
    assert compiled == 0
    assert at_import == 0
    assert after_a_call > 0


@pytest.mark.parametrize(
    "module", ["hypothesis", "matplotlib", "numba", "onnx", "pandas", "polars", "rich", "scipy", "sklearn"]
)
def test_importing_does_not_load(module):
    loaded = f"{module!r} in sys.modules"
    before, after = run(f"import sys; before = {loaded}; import nbsoftmax; print(before, {loaded})")
    assert after == before


def test_every_public_name_is_there():
    assert run("import nbsoftmax as nbs; print(all(hasattr(nbs, name) for name in nbs.__all__))") == ["True"]


def test_testing_without_hypothesis_says_what_to_install():
    printed = run(
        """
        import sys
        sys.modules["hypothesis"] = None
        try:
            import nbsoftmax.testing
        except ImportError as error:
            print(error)
        """
    )
    assert 'pip install "nbsoftmax[test]"' in " ".join(printed)
