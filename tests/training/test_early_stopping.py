"""Early stopping restores the parameters of the lowest validation loss."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.callbacks import EarlyStopping
from nbsoftmax.solvers.stop_reason import StopReason
from tests.training.problems import overlapping


def test_early_stopping_restores_the_parameters_of_the_lowest_validation_loss():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 40))  # nearly as many features as samples: the fit learns the noise
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    held_out = rng.normal(size=(500, 40))
    labels = (held_out[:, 0] + rng.normal(size=500) > 0).astype(int)
    fit = {"X": X, "y": y, "validation_data": (held_out, labels)}
    result = nbs.Trainer(solver="lbfgs", l2=1e-6, callbacks=[EarlyStopping(3)]).fit(**fit)  # no warning: requested
    losses = result.history["validation_loss"]
    assert not result.converged
    assert result.stop_reason is StopReason.EARLY_STOPPING
    assert losses.argmin() == losses.size - 4
    reached = nbs.cross_entropy(result.model.decision_function(held_out), labels)
    assert reached == pytest.approx(losses.min(), rel=1e-12)
    assert result.objective == pytest.approx(result.history["objective"][losses.argmin()], rel=1e-12)
    assert result.gap > 0


def test_early_stopping_restores_the_best_parameters_also_of_a_fit_that_converged():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 40))
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    held_out = rng.normal(size=(500, 40))
    labels = (held_out[:, 0] + rng.normal(size=500) > 0).astype(int)
    result = nbs.Trainer(l2=1e-3, callbacks=[EarlyStopping(100)]).fit(X, y, validation_data=(held_out, labels))
    reached = nbs.cross_entropy(result.model.decision_function(held_out), labels)
    assert reached == pytest.approx(result.history["validation_loss"].min(), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"l1": 1e-5}, "duality"),
        ({"l1": 1e-5, "grouped": True}, "duality"),
        ({"l2": 1e-4, "bounds": (-3, 3)}, "duality"),
        ({"l1": 1e-4, "dtype": "float32"}, "duality"),
        ({"bounds": (-5, None)}, "estimate"),
    ],
)
def test_restored_parameters_have_a_gap_also_with_a_penalty_without_gradient(options, kind):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 40))
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    held_out = rng.normal(size=(500, 40))
    labels = (held_out[:, 0] + rng.normal(size=500) > 0).astype(int)
    result = nbs.Trainer(callbacks=[EarlyStopping(3)], **options).fit(X, y, validation_data=(held_out, labels))
    assert result.stop_reason is StopReason.EARLY_STOPPING
    assert result.gap_kind == kind
    assert result.gap <= result.objective
    if kind == "duality":
        best = nbs.Trainer(**options).fit(X, y)
        assert result.gap >= result.objective - best.objective


def test_early_stopping_without_validation_data_is_refused():
    with pytest.raises(nbs.InputValueError, match="validation_data"):
        nbs.Trainer(callbacks=[EarlyStopping(3)]).fit(*overlapping(np.random.default_rng(0)))


def test_a_fit_that_ctrl_c_ended_says_so_also_where_early_stopping_restores_the_best_parameters():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 3

    def interrupt(now):
        if now.n_iter == 4:
            raise KeyboardInterrupt

    data = {"validation_data": (X, (y + 1) % 3)}  # wrong labels: the loss rises from the first iteration on
    result = nbs.Trainer(solver="gd", callbacks=[interrupt, EarlyStopping(50)]).fit(X, y, **data)
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.reason == "interrupted; the model is that of iteration 1"
    assert result.interrupted
    assert not nbs.Trainer(l2=0.1).fit(X, y).interrupted


@pytest.mark.filterwarnings("ignore:the fit has not converged")
def test_the_lowest_validation_loss_may_be_that_of_the_last_epoch():
    """A solver whose objective may rise returns an earlier epoch, with a lower objective."""
    n_last = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(200, 4))
        y = (X[:, 0] + rng.normal(size=200) > 0).astype(int)
        seen = []

        def record(now, seen=seen):
            seen.append((now.validation_loss, now.objective, now.params.copy()))

        solver = nbs.SGD(learning_rate=0.3, schedule="constant", batch_size=8)
        trainer = nbs.Trainer(
            solver=solver,
            random_state=seed,
            max_iter=5,
            validation_fraction=0.3,
            callbacks=[record, EarlyStopping(50)],
        )
        result = trainer.fit(X, y)
        best = int(np.argmin([loss for loss, *_ in seen]))
        n_last += best == 4 and int(np.argmin([objective for _, objective, _ in seen])) != 4
        expected = seen[best][2]
        np.testing.assert_allclose(result.model.coef, expected[:, :-1] - expected[:, :-1].mean(axis=0), atol=1e-12)
    assert n_last > 0
