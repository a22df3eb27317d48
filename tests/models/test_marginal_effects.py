"""Marginal effects: those of statsmodels where it has them, and otherwise those of complex numbers as parameters."""

import pickle
import re

import numpy as np
import pytest
import scipy.sparse
import statsmodels.api as sm

import nbsoftmax as nbs
from nbsoftmax.backends import row_blocks
from tests.models.test_inference import anes96, blobs, fair, spector, theirs

KINDS = ["dydx", "eyex", "dyex", "eydx"]
TOLERANCE = 1e-9  # relative to the largest effect, and to each standard error


def assert_effects(ours, effects, errors, tolerance=TOLERANCE):
    assert ours.effects.shape == ours.std_errors.shape == effects.shape
    assert np.abs(ours.effects - effects).max() <= tolerance * np.abs(effects).max()
    assert (np.abs(ours.std_errors - errors) <= tolerance * errors).all()


def by_complex_steps(table, X, kind, *, weight=None, offset=None, binary=(), others=()):
    """Mean effects at rows of X, and their standard errors from derivatives by complex steps."""
    weight = np.ones(len(X)) if weight is None else weight
    offset = 0.0 if offset is None else offset
    free, n_names = table.model.classes != table.reference, len(table.names)

    def effects(theta):
        params = np.zeros((len(free), X.shape[1] + 1), complex)
        params[free, :n_names] = theta.reshape(-1, n_names)
        w = params[:, :-1]

        def proba(x):
            odds = np.exp(x @ w.T + params[:, -1] + offset)
            return odds / odds.sum(axis=1, keepdims=True)

        a = proba(X)
        effect = w.T - (a @ w)[:, :, None]  # (m, N, K)
        if kind.startswith("dy"):
            effect = effect * a[:, None, :]
        if kind.endswith("ex"):
            effect = effect * X[:, :, None]
        for j in binary:
            ends = [X.copy(), X.copy()]
            for end in ends:
                end[:, [other for other in others if other != j]] = 0
            ends[0][:, j], ends[1][:, j] = 0, 1
            of_0, of_1 = (np.log(proba(x)) if kind.startswith("ey") else proba(x) for x in ends)
            effect[:, j] = of_1 - of_0
        return np.tensordot(weight / weight.sum(), effect, 1)

    theta, h = table.params.ravel(), 1e-30
    slopes = np.array([effects(theta + 1j * h * unit).imag / h for unit in np.eye(theta.size)])
    return effects(theta).real, np.sqrt(np.einsum("pjk,pq,qjk->jk", slopes, table.covariance, slopes))


@pytest.mark.parametrize("data", [anes96, fair, spector])
@pytest.mark.parametrize("at", ["overall", "mean", "median"])
@pytest.mark.parametrize("kind", ["dydx", "eydx"])  # its MNLogit fails for the others, as for changes from 0 to 1
def test_effects_are_those_of_mnlogit(data, at, kind):
    X, y = data()
    expected = theirs(X, y).get_margeff(at=at, method=kind)
    ours = nbs.Trainer().fit(X, y).marginal_effects(at, kind=kind, dummies=False)
    assert_effects(ours, np.asarray(expected.margeff), np.asarray(expected.margeff_se))
    assert np.abs(ours.p_values - expected.pvalues).max() <= 1e-6
    ends = np.asarray(expected.conf_int())  # (N, 2, K)
    assert np.abs(ours.conf_int() - ends.transpose(0, 2, 1)).max() <= 1e-6 * np.abs(ends).max()


# With changes from 0 to 1, statsmodels refuses the others.
OF_LOGIT = [(at, kind, False) for at in ("overall", "mean", "median") for kind in KINDS]
OF_LOGIT += [(at, kind, True) for at in ("overall", "mean") for kind in ("dydx", "eydx")]


@pytest.mark.parametrize(("at", "kind", "dummies"), OF_LOGIT)
def test_effects_are_those_of_logit_for_two_classes(at, kind, dummies):
    X, y = spector()
    with np.errstate(invalid="ignore"):
        expected = sm.Logit(y, sm.add_constant(X)).fit(disp=0, tol=1e-12).get_margeff(at=at, method=kind, dummy=dummies)
    ours = nbs.Trainer().fit(X, y).marginal_effects(at, kind=kind, dummies=dummies)
    assert ours.binary.tolist() == [False, False, dummies]
    # Both effects are 0 where the median of a feature is 0 and it is multiplied by the feature.
    assert (np.abs(ours.effects[:, 1] - expected.margeff) <= 1e-6 * np.abs(expected.margeff)).all()
    assert (np.abs(ours.std_errors[:, 1] - expected.margeff_se) <= 1e-6 * expected.margeff_se).all()


# Effects of GPA, TUCE and PSI on the grade, and their standard errors, by Stata's `margins` after `logit`.
OF_STATA = [
    ("overall", "dydx", False, [0.36258084688, 0.01220841099, 0.30517768382], [0.1094412, 0.0177942, 0.0923796]),
    ("overall", "dydx", True, [0.36258084688, 0.01220841099, 0.35751515255], [0.1094412, 0.0177942, 0.1420034]),
    ("overall", "eydx", True, [1.85463662668, 0.06244722073, 1.55490343988], [0.847903, 0.0930901, 0.7283702]),
    ("overall", "eyex", False, [5.47471067990, 1.31733899076, 0.44600395467], [2.44682, 1.943525, 0.1567618]),
    ("overall", "dyex", False, [1.17740007922, 0.27896245178, 0.16960002160], [0.3616481, 0.4090679, 0.0635583]),
    ("mean", "dydx", True, [0.53385885782, 0.01797548989, 0.45649840970], [0.237038, 0.0262369, 0.1810537]),
    ("median", "eyex", False, [7.81209735260, 1.93096303509, 0.0], [3.847731951, 2.888485089, 0.0]),
    ({"GPA": 2, "PSI": 1}, "dydx", False, [0.1456333017, 0.0049035993, 0.1225768931], [0.145633, 0.0111226, 0.1777101]),
]  # fmt: skip


@pytest.mark.parametrize(("at", "kind", "dummies", "effects", "errors"), OF_STATA)
def test_effects_are_those_that_stata_prints(at, kind, dummies, effects, errors):
    X, y = spector()
    where = at if isinstance(at, str) else X.assign(**at)
    ours = nbs.Trainer().fit(X, y).marginal_effects(where, kind=kind, dummies=dummies)
    assert np.abs(ours.effects[:, 1] - effects).max() <= 1e-6  # as far as Stata's iterations have converged
    assert np.abs(ours.std_errors[:, 1] - errors).max() <= 2e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_features", "n_classes"), [(2, 4), (5, 3), (3, 2)])  # few features, few classes
def test_effects_and_their_derivatives_are_those_of_complex_steps(kind, n_features, n_classes):
    rng = np.random.default_rng(0)
    X, y = blobs(300, n_classes, n_features)
    X[:, -1] = X[:, -1] > 0
    y = np.where(rng.uniform(size=300) < 0.3, rng.integers(0, n_classes, 300), y)  # not separable
    weight, offset = rng.integers(0, 4, 300).astype(float), rng.normal(size=(300, n_classes))
    for intercept in (True, False):
        result = nbs.Trainer(fit_intercept=intercept).fit(X, y, sample_weight=weight, offset=offset)
        for reference in (0, n_classes - 1):
            table = result.inference(reference=reference, cov="sandwich")
            for binary in ([], [n_features - 1]):
                ours = table.marginal_effects(kind=kind, dummies=bool(binary))
                at_rows = by_complex_steps(table, X, kind, weight=weight, offset=offset, binary=binary)
                assert_effects(ours, *at_rows)
            mean, mean_offset = (np.average(a, axis=0, weights=weight)[None] for a in (X, offset))
            at_mean = by_complex_steps(table, mean, kind, offset=mean_offset, binary=[n_features - 1])
            assert_effects(table.marginal_effects("mean", kind=kind), *at_mean)


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_class_and_blocks_of_rows_change_nothing(kind, monkeypatch):
    X, y = blobs(500, n_classes=4, n_features=3)
    result = nbs.Trainer().fit(X, y)
    first = result.marginal_effects(kind=kind)
    last = result.inference(reference=3).marginal_effects(kind=kind)
    assert_effects(last, first.effects, first.std_errors)
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1)  # 16 rows
    monkeypatch.setattr("nbsoftmax.models.effects.MOST_PRODUCTS", 1)
    assert_effects(result.marginal_effects(kind=kind), first.effects, first.std_errors)


def test_effects_on_the_probabilities_sum_to_0():
    ours = nbs.Trainer().fit(*anes96()).marginal_effects()
    assert np.abs(ours.effects.sum(axis=1)).max() <= 1e-15


@pytest.mark.parametrize("at", ["overall", "mean", "median"])
def test_a_weight_of_two_is_the_row_seen_twice(at):
    X, y = blobs()
    X[:, 1] = X[:, 1] > 0
    weight = np.random.default_rng(1).integers(0, 4, len(y))
    once = nbs.Trainer().fit(X, y, sample_weight=weight).marginal_effects(at)
    often = nbs.Trainer().fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)).marginal_effects(at)
    assert_effects(once, often.effects, often.std_errors)


@pytest.mark.parametrize("at", ["overall", "mean", "median"])
@pytest.mark.parametrize("kind", ["dydx", "eyex"])
def test_sparse_rows_and_rows_in_float32_give_the_same_effects(at, kind):
    X, y = blobs(500, n_features=4)
    X[X < -0.5] = 0
    X[:, 3] = X[:, 3] > 0
    X = X.astype(np.float32)
    dense, narrow, sparse = (
        nbs.Trainer().fit(x, y).marginal_effects(at, kind=kind)
        for x in (X.astype(float), X, scipy.sparse.csr_array(X.astype(float)))
    )
    assert dense.binary.tolist() == narrow.binary.tolist() == sparse.binary.tolist() == [False, False, False, True]
    assert_effects(sparse, dense.effects, dense.std_errors)
    assert_effects(narrow, dense.effects, dense.std_errors, 1e-5)


def test_a_table_gives_the_mean_of_the_effects_at_its_rows():
    X, y = blobs(300, n_features=3)
    result = nbs.Trainer().fit(X, y)
    table = result.inference()
    whole = table.marginal_effects()
    assert_effects(table.marginal_effects(X), whole.effects, whole.std_errors)
    pair, weight = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, -1.0]]), np.array([1.0, 3.0])
    offset = np.array([[0.0, 1.0, 0.5], [0.0, -1.0, 0.0]])
    ours = table.marginal_effects(pair, sample_weight=weight, offset=offset)
    assert_effects(ours, *by_complex_steps(table, pair, "dydx", weight=weight, offset=offset))
    assert (ours.at, whole.at) == ("table", "overall")


def test_a_column_is_binary_if_it_is_0_and_1_in_the_fit_and_not_1_alone():
    X, y = blobs(400, n_features=4)
    X[:, 0], X[:, 1], X[:, 2] = X[:, 0] > 0, 1, 2 * (X[:, 2] > 0)
    for rows in (X, scipy.sparse.csr_array(X)):
        result = nbs.Trainer(fit_intercept=False).fit(rows, y)
        assert result.inference().binary.tolist() == [True, False, False, False]
        assert result.marginal_effects(rows[:1]).binary.tolist() == [True, False, False, False]


def test_a_pickled_table_takes_the_rows_again():
    X, y = blobs(3000)
    table = nbs.Trainer().fit(X, y).inference()
    stored = pickle.dumps(table)
    assert len(stored) < X.nbytes / 10
    again = pickle.loads(stored)
    with pytest.raises(nbs.InputValueError, match=r"does not contain the data; give the rows .* marginal_effects\(X\)"):
        again.marginal_effects()
    assert np.array_equal(again.marginal_effects(X).effects, table.marginal_effects(X).effects)


def test_the_data_frame_has_a_row_for_each_feature_and_class(monkeypatch):
    X, y = blobs()
    ours = nbs.Trainer().fit(X, np.array(["a", "b", "c"])[y]).marginal_effects()
    frame = ours.to_frame()
    assert type(frame).__module__.startswith("pandas")
    assert frame["feature"].tolist() == ["x0"] * 3 + ["x1"] * 3
    assert frame["class"].tolist() == ["a", "b", "c"] * 2
    assert np.array_equal(frame["effect"], ours.effects.ravel())
    assert np.array_equal(frame[["low", "high"]], ours.conf_int().reshape(-1, 2))
    monkeypatch.setattr("nbsoftmax.models.to_frame.find_spec", lambda name: None if name == "pandas" else True)
    other = ours.to_frame(level=0.9)
    assert type(other).__module__.startswith("polars")
    assert other.columns == frame.columns.tolist()
    assert np.array_equal(other["high"], ours.conf_int(0.9)[..., 1].ravel())
    monkeypatch.setattr("nbsoftmax.models.to_frame.find_spec", lambda _: None)
    with pytest.raises(ImportError, match="needs pandas or polars"):
        ours.to_frame()


def test_the_summary_names_each_class_and_feature():
    text = str(nbs.Trainer().fit(*spector()).marginal_effects(kind="eydx"))
    assert re.search("Effects of 0 to 1: +1 of 3\n", text)
    assert len({len(line) for line in text.splitlines()}) == 1
    for part in ("y=0      ey/dx", "y=1      ey/dx", "\nGPA", "\nPSI"):
        assert part in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": "zero"}, "at is 'zero', expected one of 'overall', 'mean', 'median'"),
        ({"kind": "dx"}, "kind is 'dx', expected one of 'dydx'"),
        ({"sample_weight": [1.0]}, "are for a table, but at is 'overall'"),
        ({"at": np.zeros((0, 2))}, "at has no rows"),
        ({"at": np.zeros((1, 3))}, "at has 3 features, but the model was trained on 2"),
        ({"at": [1.0, 2.0]}, "at has 1 dimension"),
        ({"at": [[1.0, np.nan]]}, "at contains nan at row 0"),
        ({"at": np.zeros((1, 2)), "sample_weight": [0.0]}, "sample_weight is all zero"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    table = nbs.Trainer().fit(*blobs()).inference()
    with pytest.raises(nbs.InputValueError, match=message):
        table.marginal_effects(**options)


def test_a_fit_of_many_samples_within_its_tol_is_taken_to_the_maximum():
    X, y = blobs(3000)
    result = nbs.Trainer(tol=1e-5).fit(X, y, sample_weight=np.full(len(y), 1e6))
    tight = nbs.Trainer(tol=1e-12).fit(X, y).inference()
    assert np.abs(result.inference().params - tight.params).max() <= 1e-9
