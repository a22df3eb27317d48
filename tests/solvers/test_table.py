"""The table of solvers, and the reasons why they stop."""

import re

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.cli.advice import TERMS
from nbsoftmax.solvers import NAMES
from nbsoftmax.solvers.base import Requirements, Solution
from nbsoftmax.solvers.stop_reason import PYTHON_TERMS, StopReason
from nbsoftmax.solvers.table import SOLVERS, solver_of


def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    return X, (X[:, :3] + rng.gumbel(size=(200, 3))).argmax(axis=1)


def test_the_names_that_need_no_import_are_those_of_the_table():
    assert tuple(SOLVERS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_name_and_the_default_object_give_the_same_bits(name):
    X, y = data()
    options = {"l2": 0.1, "tol": 1e-2} | ({} if SOLVERS[name].requires.smooth else {"l1": 1e-3})
    by_name = nbs.Trainer(solver=name, **options).fit(X, y)
    by_object = nbs.Trainer(solver=type(solver_of(name))(), **options).fit(X, y)
    assert by_name.solver == by_object.solver == name
    assert by_name.model.coef.tobytes() == by_object.model.coef.tobytes()
    assert solver_of(name) == type(solver_of(name))()  # scikit-learn compares options


def test_options_of_a_solver_reach_paths_and_searches():
    X, y = data()
    diverging = nbs.GradientDescent(learning_rate=1e9)
    with pytest.warns(nbs.ConvergenceWarning, match="learning_rate 1e\\+09 is too large"):
        nbs.fit_path(X, y, l2s=[0.1], solver=diverging)
    with pytest.warns(nbs.ConvergenceWarning, match="learning_rate 1e\\+09 is too large"):
        nbs.cross_validate(X, y, Cs=[1.0], folds=2, solver=diverging)


def test_options_of_a_solver_reach_estimators():
    pytest.importorskip("sklearn")
    X, y = data()
    with pytest.warns(nbs.ConvergenceWarning, match="learning_rate 1e\\+09 is too large"):
        nbs.SoftmaxRegression(solver=nbs.GradientDescent(learning_rate=1e9)).fit(X, y)


class AtZero:
    """A solver of somebody else's."""

    name = "at-zero"
    requires = Requirements()

    def solve(self, objective, start, *, tol, max_iter=None, on_iteration, state=None, random_state=0):
        value, grad = objective.value_and_grad(start)
        stop = on_iteration(1, start, value, float(np.linalg.norm(grad))) or StopReason.MAX_ITER.stop(
            n_iter=1, unit="iterations"
        )
        return Solution(start, value, float(np.linalg.norm(grad)), np.inf, "estimate", 1, False, *stop)


def test_a_solver_of_ones_own_works_in_the_trainer():
    X, y = data()
    with pytest.warns(nbs.ConvergenceWarning, match="max_iter reached"):
        result = nbs.Trainer(solver=AtZero()).fit(X, y)
    assert result.solver == "at-zero"
    assert result.stop_reason is StopReason.MAX_ITER
    assert abs(result.objective - np.log(3)) <= 1e-12
    with pytest.raises(nbs.InputValueError, match="'at-zero' cannot minimise"):
        nbs.Trainer(solver=AtZero(), l1=0.1)


def test_a_solver_of_ones_own_goes_on_from_a_checkpoint(tmp_path):
    class Own:
        name, requires = "own", Requirements()

        def __init__(self, memory):
            self.memory = memory

        def solve(self, *arguments, random_state, **options):
            return nbs.LBFGS().solve(*arguments, **options)

    X, y = data()
    whole = nbs.Trainer(solver=Own(1), l2=0.1).fit(X, y)
    nbs.Trainer(solver=Own(1), l2=0.1, callbacks=[lambda now: now.n_iter == 2]).fit(X, y, checkpoint=tmp_path / "fit")
    with pytest.raises(nbs.InputValueError, match="other data"):
        nbs.Trainer(solver=Own(2), l2=0.1).fit(X, y, checkpoint=tmp_path / "fit", resume=True)
    # Another object with the same options, as in another process.
    result = nbs.Trainer(solver=Own(1), l2=0.1).fit(X, y, checkpoint=tmp_path / "fit", resume=True)
    assert np.array_equal(result.model.coef, whole.model.coef)


def test_a_solver_that_does_not_say_what_it_requires_is_refused():
    class Wrong(AtZero):
        requires = None

    with pytest.raises(nbs.InputTypeError, match=r"^requires of the solver .* is None, expected"):
        nbs.Trainer(solver=Wrong())


@pytest.mark.parametrize("reason", StopReason)
def test_every_reason_that_nobody_asked_for_has_advice_in_the_terms_of_python_and_of_the_command_line(reason):
    assert bool(reason.advice) == (not reason.requested and reason is not StopReason.CONVERGED)
    for terms in (PYTHON_TERMS, TERMS):
        assert not re.search(r"[{}]", reason.advise(terms))
    assert "--" not in reason.advise()


def test_a_stop_is_its_reason_with_the_text():
    stop = StopReason.MAX_ITER.stop(n_iter=7, unit="epochs")
    assert stop.reason is StopReason.MAX_ITER
    assert stop.text == "max_iter reached (7 epochs)"
