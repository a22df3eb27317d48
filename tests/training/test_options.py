"""Options of a Trainer that are out of range."""

import inspect

import pytest

import nbsoftmax as nbs
from nbsoftmax.training.other_names import OF_FIT


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"solver": "adam"}, nbs.InputValueError, "'adam', expected one of 'auto'"),
        ({"l2": -1.0}, nbs.InputValueError, "l2 is -1"),
        ({"l2": "much"}, nbs.InputTypeError, "l2 is 'much'"),
        ({"l1": -0.5}, nbs.InputValueError, "l1 is -0.5"),
        ({"tol": 0.0}, nbs.InputValueError, "tol is 0"),
        ({"tol": float("nan")}, nbs.InputValueError, "tol is nan"),
        ({"max_iter": -1}, nbs.InputValueError, "max_iter is -1"),
        ({"max_iter": 2.5}, nbs.InputTypeError, "max_iter is 2.5"),
        ({"solver": "adam"}, nbs.InputValueError, "expected one of 'auto', 'newton-cg'"),
        ({"solver": nbs.SGD}, nbs.InputTypeError, r"such as nbsoftmax.SGD\(\)"),
        ({"solver": 3}, nbs.InputTypeError, "solver is 3, expected a name"),
        ({"label_smoothing": 1.5}, nbs.InputValueError, "label_smoothing is 1.5"),
        ({"n_threads": 10_000}, nbs.InputValueError, "NUMBA_NUM_THREADS"),
        ({"device": "tpu"}, nbs.InputValueError, "device is 'tpu'"),
        ({"dtype": "int8"}, nbs.InputTypeError, "expected float32 or float64"),
        ({"callbacks": print}, nbs.InputTypeError, "sequence of functions"),
        ({"callbacks": [3]}, nbs.InputTypeError, "cannot be called"),
        ({"fit_intercept": "yes"}, nbs.InputTypeError, "True or False"),
        ({"random_state": -1}, nbs.InputValueError, "random_state is -1"),
    ],
)
def test_options_out_of_range_are_refused(options, error, said):
    with pytest.raises(error, match=said):
        nbs.Trainer(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"C": 1.0}, r"Trainer has no parameter C: give l2, which is 1 / \(C n\)"),
        ({"l1_ratio": 0.5, "l2": 1.0}, "Trainer has no parameter l1_ratio: give l1 and l2"),
        ({"firth": True}, 'Trainer has no parameter firth: give penalty="firth"'),
        ({"n_jobs": 2}, "Trainer has no parameter n_jobs: give n_threads"),
        ({"standardise": True}, "Trainer has no parameter standardise: give standardize"),
        ({"learning_rate": 0.1}, r"give it to the solver, solver=nbsoftmax.SGD\(learning_rate=...\)"),
        (
            {"checkpoint": "run.ckpt"},
            r"has no parameter checkpoint: give it to fit, fit\(X, y, checkpoint=...\)",
        ),
    ],
)
def test_options_that_others_have_are_answered_with_those_of_the_trainer(options, message):
    with pytest.raises(nbs.InputTypeError, match=message):
        nbs.Trainer(**options)
    with pytest.raises(TypeError, match="unexpected keyword argument 'lambdas'"):
        nbs.Trainer(lambdas=1.0)


def test_all_options_of_fit_are_answered():
    options = inspect.signature(nbs.Trainer.fit).parameters.values()
    assert [option.name for option in options if option.kind is option.KEYWORD_ONLY] == list(OF_FIT)
