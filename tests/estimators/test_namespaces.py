"""Arrays of other libraries under scikit-learn's `array_api_dispatch`."""

import importlib.util

import pytest
import sklearn

from tests.processes import output

# SciPy reads SCIPY_ARRAY_API when it is imported, so each test is a process.
VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))
HAS_LIBRARY = VERSION >= (1, 8) or importlib.util.find_spec("array_api_compat") is not None
pytestmark = pytest.mark.skipif(not HAS_LIBRARY, reason="needs scikit-learn 1.8, or array_api_compat")

OWN_LIBRARY = '''
class Namespace:
    """The functions of a small array library, whose arrays are on the device "there"."""

    __name__ = "small"
    float64, float32, int32, int64 = np.float64, np.float32, np.int32, np.int64

    @staticmethod
    def asarray(a, device=None):
        return Array(np.array(a))


class Array:
    device = "there"

    def __init__(self, values):
        self.values = values

    def __array_namespace__(self, api_version=None):
        return SMALL

    def __array__(self, dtype=None, copy=None):
        return self.values

    def __len__(self):
        return len(self.values)

    shape = property(lambda self: self.values.shape)
    ndim = property(lambda self: self.values.ndim)
    dtype = property(lambda self: self.values.dtype)


SMALL = Namespace()
'''
LIBRARIES = {
    "small": OWN_LIBRARY,
    "torch": "import torch\nSMALL, Array = torch, torch.Tensor\n",
    "array_api_strict": "import array_api_strict as SMALL\nArray = type(SMALL.asarray(0))\n",
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_results_are_in_the_namespace_of_x_and_equal_those_of_numpy(library):
    if library != "small" and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    script = LIBRARIES[library] + SCRIPT
    assert output("import numpy as np\n" + script, SCIPY_ARRAY_API="1").split() == ["done"]


SCRIPT = """
import sklearn, nbsoftmax as nbs
from sklearn.datasets import load_iris

X, y = load_iris(return_X_y=True)
names = np.array(["a", "b", "c"])[y]
weight = np.linspace(1, 2, 150)
offset = np.linspace(-1, 1, 450).reshape(150, 3)
other = lambda a: SMALL.asarray(a)
METHODS = ["predict", "predict_proba", "predict_log_proba", "decision_function"]

def same(a, b, name):
    assert type(b) is Array, (name, type(b))
    np.testing.assert_array_equal(np.asarray(b), a, err_msg=name)
    assert np.asarray(b).dtype == a.dtype, name

estimators = [nbs.SoftmaxRegression(), nbs.SoftmaxRegression(l1_ratio=0.5), nbs.SoftmaxRegressionCV([0.1, 1.0], cv=2)]
for estimator in estimators:
    for dtype in (np.float64, np.float32):
        for labels in (y, y == 2, names):
            given = other(labels) if labels is not names else labels
            shift = offset if np.unique(labels).size == 3 else offset[:, 0]
            plain = sklearn.clone(estimator).fit(X.astype(dtype), labels, sample_weight=weight, offset=shift)
            with sklearn.config_context(array_api_dispatch=True):
                Z = other(X.astype(dtype))
                fitted = sklearn.clone(estimator).fit(Z, given, sample_weight=other(weight), offset=other(shift))
                for name, value in vars(plain).items():
                    if name.endswith("_") and isinstance(value, np.ndarray) and name != "classes_":
                        same(value, getattr(fitted, name), name)
                assert isinstance(fitted.classes_, np.ndarray)
                for name in METHODS:
                    expected, found = getattr(plain, name)(X.astype(dtype)), getattr(fitted, name)(Z)
                    if expected.dtype.kind == "U":
                        np.testing.assert_array_equal(found, expected)
                    else:
                        same(expected, found, name)
                assert fitted.score(Z, given) == plain.score(X.astype(dtype), labels)
                assert fitted.model_.coef.dtype == np.float64
                try:
                    fitted.predict(X)
                except nbs.InputValueError as error:
                    assert "predict() must use the same namespace" in str(error), error
                else:
                    raise AssertionError("X of NumPy was accepted")

with sklearn.config_context(array_api_dispatch=True):
    again = nbs.SoftmaxRegression(warm_start=True).fit(other(X), other(y)).fit(other(X), other(y))
    assert int(np.asarray(again.n_iter_)[0]) == 0
    stream = nbs.SoftmaxRegression().partial_fit(other(X), other(y), classes=[0, 1, 2])
    same(nbs.SoftmaxRegression().partial_fit(X, y, classes=[0, 1, 2]).coef_, stream.coef_, "coef_")
print("done")
"""
