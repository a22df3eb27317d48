"""Docstrings of public methods say which errors they raise."""

import inspect
import pickle

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.models.test_inference import blobs

X, Y = blobs()
MODEL = nbs.Trainer().fit(X, Y).model
INFERENCE = nbs.inference(MODEL, X, Y)
EFFECTS = INFERENCE.marginal_effects()
CONTRAST = INFERENCE.contrast(0, 1)

REFUSED = [
    (INFERENCE.conf_int, {"level": 1.0}),
    (INFERENCE.to_frame, {"level": "95%"}),
    (INFERENCE.summary, {"level": 0}),
    (INFERENCE.marginal_effects, {"kind": "dy"}),
    (INFERENCE.marginal_effects, {"dummies": "no"}),
    (pickle.loads(pickle.dumps(INFERENCE)).classification_table, {}),
    (EFFECTS.conf_int, {"level": 95}),
    (EFFECTS.to_frame, {"level": None}),
    (EFFECTS.summary, {"level": np.nan}),
    (CONTRAST.conf_int, {"level": 1.0}),
    (CONTRAST.to_frame, {"level": True}),
    (CONTRAST.summary, {"level": -1}),
    (MODEL.top_k, {"X": X, "k": 4}),
    (MODEL.top_k, {"X": X, "k": 1.5}),
    (MODEL.predict, {"X": X, "thresholds": [1.0]}),
    (MODEL.to_sigmoid, {}),
    (nbs.Ridge, {"l2": -1.0}),
    (nbs.Lasso, {"l1": "1"}),
    (nbs.ElasticNet, {"l1": 1.0, "l2": np.inf}),
    (nbs.GroupLasso, {"l1": 1.0, "weights": [[1.0]]}),
]


@pytest.mark.parametrize(("call", "arguments"), REFUSED, ids=lambda value: getattr(value, "__qualname__", None))
def test_the_error_of_a_refused_argument_is_in_the_docstring(call, arguments):
    with pytest.raises(nbs.InputError) as caught:
        call(**arguments)
    errors = inspect.getdoc(call).partition("Raises\n------\n")[2]
    assert caught.type.__name__ in errors
