"""LAPACK comes from SciPy with or without the import of `scipy.linalg`."""

import pytest

from nbsoftmax.kernels.runtime import lapack as runtime
from tests.processes import output


def test_scipy_linalg_is_not_imported_and_its_functions_are_the_same():
    script = """
        import sys
        from nbsoftmax.kernels.runtime.lapack import lapack
        functions = lapack()
        print("scipy.linalg" in sys.modules)
        import scipy.linalg
        print(functions.dpotrf is scipy.linalg.lapack.dpotrf)
    """
    assert output(script).split() == ["False", "True"]


def test_a_fit_with_compiled_kernels_does_not_import_scipy_linalg():
    script = """
        import sys
        import nbsoftmax as nbs
        from nbsoftmax.data import digits
        X, y = digits.load()
        nbs.Trainer(l2=1e-3).fit(X / 16, y)
        print("scipy.linalg" in sys.modules)
    """
    output(script)  # to compile a kernel, Numba imports it
    assert output(script).split() == ["False"]


@pytest.mark.parametrize("extension", ["None", "sys"], ids=["none", "without functions"])
def test_a_scipy_without_the_extension_module_serves(extension):
    script = f"""
        import sys
        from nbsoftmax.kernels.runtime import lapack as runtime
        runtime._extension = lambda: {extension}
        functions = runtime.lapack()
        import scipy.linalg.lapack
        print(functions is scipy.linalg.lapack)
    """
    assert output(script).split() == ["True"]


def test_an_extension_module_that_cannot_be_loaded_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime.scipy, "__path__", [str(tmp_path)])
    assert runtime._extension() is None
    (tmp_path / "linalg").mkdir()
    (tmp_path / "linalg" / "_flapack.py").write_text("import no_such_module")
    assert runtime._extension() is None
