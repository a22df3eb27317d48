"""`import nbsoftmax` compiles nothing and loads nothing heavy."""

import importlib
import sys
import textwrap

import pytest

from tests.processes import output

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
    return output(script).split()


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
    "module",
    [
        "dask",
        "distributed",
        "formulaic",
        "hypothesis",
        "matplotlib",
        "numba",
        "onnx",
        "pandas",
        "polars",
        "pyarrow",
        "rich",
        "scipy",
        "sklearn",
    ],
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


@pytest.mark.parametrize("name", ["callbacks", "data", "plots", "testing"])
def test_a_submodule_is_loaded_when_it_is_asked_for(name):
    script = f"""
        import sys
        import nbsoftmax as nbs
        print("nbsoftmax.{name}" in sys.modules, "{name}" in dir(nbs), nbs.{name}.__name__)
    """
    assert run(script) == ["False", "True", f"nbsoftmax.{name}"]


def test_the_digits_are_there_without_another_import():
    assert run("import nbsoftmax as nbs; print(nbs.data.digits.load()[0].shape[1])") == ["64"]


@pytest.mark.parametrize("absent", [(), ("sklearn",), ("sklearn", "hypothesis", "matplotlib")])
def test_star_hasattr_and_getmembers_work_without_optional_packages(absent):
    script = f"""
        import inspect
        import sys
        for name in {absent}:
            sys.modules[name] = None
        import nbsoftmax as nbs
        names = [*nbs._MODULE_OF, *nbs._SUBMODULES]
        missing = [name for name in names if not hasattr(nbs, name)]
        from nbsoftmax import *
        assert set(nbs.__all__) == set(nbs._MODULE_OF) - set(missing)
        assert set(nbs.__all__) <= set(globals())
        assert set(dict(inspect.getmembers(nbs))) >= set(names) - set(missing)
        print(*missing)
    """
    needed = {"sklearn": ["SoftmaxRegression", "SoftmaxRegressionCV"], "hypothesis": ["testing"]}
    assert run(script) == [name for module in absent for name in needed.get(module, [])]


@pytest.mark.parametrize(
    ("use", "error"),
    [
        ("nbs.SoftmaxRegression", AttributeError),
        ("nbs.SoftmaxRegressionCV", AttributeError),
        ("from nbsoftmax import SoftmaxRegression", ImportError),
        ("from nbsoftmax import Trainer, SoftmaxRegressionCV", ImportError),
        ("import nbsoftmax.estimators", ImportError),
        ("nbs.testing", AttributeError),
        ("from nbsoftmax import testing", ImportError),
    ],
)
def test_a_name_that_needs_an_absent_package_says_what_to_install(monkeypatch, use, error):
    absent = {"sklearn", "hypothesis"}
    for module in [*absent, *(m for m in sys.modules if m.partition(".")[0] in absent)]:
        monkeypatch.setitem(sys.modules, module, None)  # submodules too, which other tests may have loaded
    for module in [
        m for m in sys.modules if m == "nbsoftmax" or m.startswith(("nbsoftmax.estimators", "nbsoftmax.testing"))
    ]:
        monkeypatch.delitem(sys.modules, module)
    nbs = importlib.import_module("nbsoftmax")
    with pytest.raises(error, match=r'pip install "nbsoftmax\[(sklearn|test)\]"'):
        exec(use, {"nbs": nbs})


def test_a_stand_in_for_an_optional_package_does_not_break_the_import():
    run("""
        import sys
        import types
        sys.modules["sklearn"] = types.ModuleType("sklearn")  # its __spec__ is None
        import nbsoftmax
    """)


def test_a_broken_installation_is_not_an_absent_name():
    script = """
        import sys
        sys.modules["scipy.special"] = None
        import nbsoftmax as nbs
        try:
            hasattr(nbs, "Inference")
        except ImportError as error:
            print(error.name)
    """
    assert run(script)[0].startswith("scipy")


@pytest.mark.parametrize("module", ["matplotlib", "rich", "scipy.linalg", "scipy.special", "sklearn", "threadpoolctl"])
def test_the_trainer_and_the_functions_load_only_what_they_use(module):
    script = f"import sys, nbsoftmax as nbs; nbs.Trainer, nbs.Objective, nbs.softmax; print({module!r} in sys.modules)"
    assert run(script) == ["False"]
