"""Results that hold arrays compare by identity: `==` of arrays is an array, which is neither true nor false."""

import copy
import dataclasses
import inspect
import pickle
import pkgutil
from importlib import import_module

import numpy as np
import pytest

import nbsoftmax as nbs

HOLDS_ARRAYS = ("NDArray", "Float64s", "Floats", "FitResult", "SoftmaxModel")


def dataclasses_of_the_package():
    for module in pkgutil.walk_packages(nbs.__path__, "nbsoftmax."):
        if not module.name.endswith("__main__"):
            for name, kind in inspect.getmembers(import_module(module.name), inspect.isclass):
                if dataclasses.is_dataclass(kind) and kind.__module__ == module.name:
                    yield name, kind


def test_no_dataclass_compares_arrays():
    kinds = dict(dataclasses_of_the_package())
    assert {"FitResult", "CVResult", "PathResult", "Iteration", "SoftmaxModel"} <= kinds.keys()
    compared = [
        name
        for name, kind in kinds.items()
        if kind.__dataclass_params__.eq
        and any(word in str(field.type) for field in dataclasses.fields(kind) for word in HOLDS_ARRAYS)
    ]
    assert compared == []


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    return X, (X[:, 0] + rng.normal(size=60) > 0).astype(int)


@pytest.mark.parametrize(
    "make",
    [
        lambda X, y: nbs.Trainer(l2=0.1).fit(X, y),
        lambda X, y: nbs.fit_path(X, y, l2s=[0.1, 0.2]),
        lambda X, y: nbs.cross_validate(X, y, Cs=[1.0], folds=2),
        lambda X, y: nbs.inference(nbs.Trainer(tol=1e-12).fit(X, y).model, X, y),
    ],
    ids=["FitResult", "PathResult", "CVResult", "Inference"],
)
def test_a_result_equals_itself_alone_and_can_be_a_key(make, data):
    result = make(*data)
    other = copy.copy(result)
    assert type(result).__eq__ is object.__eq__  # that of a dataclass would compare arrays
    assert result != other
    assert len({result, other}) == 2


def test_attributes_of_a_model_are_named_with_their_place(data):
    result = nbs.Trainer(l2=0.1).fit(*data)
    found = nbs.cross_validate(*data, Cs=[1.0], folds=2)
    for name in ("predict", "save", "coef"):
        with pytest.raises(AttributeError, match=rf"'FitResult' .* '{name}'; its model has it: model\.{name}"):
            getattr(result, name)
        with pytest.raises(AttributeError, match=rf"'CVResult' .* '{name}'; its model has it: result\.model\.{name}"):
            getattr(found, name)
        assert not hasattr(result, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'prediction'$"):
        _ = result.prediction
    assert pickle.loads(pickle.dumps(result)).gap == copy.deepcopy(result).gap == result.gap
