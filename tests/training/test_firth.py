"""Firth's penalty: finite estimates for perfectly separable classes, equal to closed forms and published fits."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

import nbsoftmax as nbs
from nbsoftmax.errors import InputError
from nbsoftmax.firth_loss import FirthLoss
from nbsoftmax.penalized_loss import ObjectiveOptions
from nbsoftmax.problem import Problem

# 79 cases of endometrial cancer: neovasculization, pulsatility index, endometrium height, high histology grade. (G.
# Heinze, M. Schemper, "A solution to the problem of separation in logistic regression", Stat. Med. 21, 2002.)
ENDOMETRIAL = """
0,13,1.64,0 0,16,2.26,0 0,8,3.14,0 0,34,2.68,0 0,20,1.28,0 0,5,2.31,0 0,17,1.8,0 0,10,1.68,0 0,26,1.56,0 0,17,2.31,0
0,8,2.01,0 0,7,1.89,0 0,20,3.15,0 0,10,1.23,0 0,18,1.27,0 0,16,1.76,0 0,18,2,0 0,8,2.64,1 0,29,0.88,1 0,12,1.27,1
0,20,1.37,1 1,38,0.97,1 1,22,1.14,1 1,7,0.88,1 1,25,0.91,1 1,15,0.58,1 0,7,0.97,1 0,28,1.5,0 0,11,1.33,0 0,19,2.37,0
0,10,1.82,0 0,10,3.13,0 0,18,1.31,0 0,14,1.92,0 0,21,1.64,0 0,11,2.01,0 0,17,1.88,0 0,25,1.93,0 0,16,2.11,0 0,19,1.29,0
0,15,1.72,0 0,33,0.75,0 0,24,1.92,0 0,48,1.84,1 0,12,1.11,1 0,19,1.61,1 0,2,1.18,1 1,22,1.44,1 1,40,1.18,1 1,5,0.93,1
1,0,1.17,1 0,21,1.19,1 0,15,1.06,1 0,29,2.02,0 0,15,2.29,0 0,12,2.33,0 0,3,2.9,0 0,20,1.7,0 0,23,1.41,0 0,12,2.25,0
0,22,1.54,0 0,42,1.97,0 0,15,1.75,0 0,13,2.16,0 0,14,2.57,0 0,19,1.37,0 0,12,3.61,0 0,13,2.04,0 0,10,2.17,0 0,12,1.69,1
1,49,0.27,1 0,6,1.84,1 0,5,1.3,1 0,17,0.96,1 1,11,1.01,1 1,21,0.98,1 0,5,0.35,1 1,19,1.02,1 0,33,0.85,1
"""
# Householders in Copenhagen by contact with others (low, high), type of the house (tower, apartment, atrium, terrace),
# influence (low, medium, high) and satisfaction (low, medium, high): `housing` of R's MASS.
HOUSING = [
    21, 21, 28, 34, 22, 36, 10, 11, 36, 61, 23, 17, 43, 35, 40, 26, 18, 54, 13, 9, 10, 8, 8, 12,
    6, 7, 9, 18, 6, 7, 15, 13, 13, 7, 5, 11, 14, 19, 37, 17, 23, 40, 3, 5, 23, 78, 46, 43,
    48, 45, 86, 15, 25, 62, 20, 23, 20, 10, 22, 24, 7, 10, 21, 57, 23, 13, 31, 21, 13, 5, 6, 13,
]  # fmt: skip


def firth(X, y, tol=1e-12, *, sample_weight=None, offset=None, **options):
    return nbs.Trainer(penalty="firth", tol=tol, **options).fit(X, y, sample_weight=sample_weight, offset=offset)


def relative_to_the_last(result):
    params = np.column_stack([result.model.coef, result.model.intercept])
    return params[:-1] - params[-1]


def penalised_loss(theta, X, y, weight, offset):
    """-log likelihood - log det I / 2 of the coefficients relative to the last class, by its definition."""
    X1 = np.column_stack([X, np.ones(len(X))])
    z = X1 @ np.vstack([theta, np.zeros(X1.shape[1])]).T + offset
    a = softmax(z, axis=1)[:, :-1]
    information = sum(
        w * np.kron(np.diag(p) - np.outer(p, p), np.outer(x, x)) for w, p, x in zip(weight, a, X1, strict=True)
    )
    return (weight * (logsumexp(z, axis=1) - z[np.arange(len(y)), y])).sum() - np.linalg.slogdet(information)[1] / 2


def separable(n_classes, n_features=2, m=25, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, n_features))
    y = np.argsort(np.argsort(X[:, 0])) * n_classes // m
    return X, y, rng.integers(1, 4, m).astype(float), rng.normal(size=(m, n_classes))


def test_the_published_fit_to_the_endometrial_data():
    data = np.array([[float(number) for number in row.split(",")] for row in ENDOMETRIAL.split()])
    with pytest.warns(nbs.ConvergenceWarning, match='penalty="firth"'):
        assert nbs.Trainer().fit(data[:, :3], data[:, 3].astype(int)).stop_reason is nbs.StopReason.SEPARABLE
    result = firth(data[:, :3], data[:, 3].astype(int))
    found = result.model.to_sigmoid()
    # Those of R's logistf.
    assert found.coef == pytest.approx([2.92927330, -0.03475175, -2.60416387], abs=2e-7)
    assert found.intercept == pytest.approx(3.77455951, abs=2e-7)


def test_the_published_multinomial_fit_to_the_housing_data():
    contact, kind, influence, y = (index.ravel() for index in np.indices((2, 4, 3, 3)))
    columns = [influence == 1, influence == 2, kind == 1, kind == 2, kind == 3, contact == 1]
    result = firth(np.column_stack(columns).astype(float), y, sample_weight=HOUSING)
    params = np.column_stack([result.model.intercept, result.model.coef])
    # Those of brmultinom(Sat ~ Infl + Type + Cont, weights = Freq, ref = 1, type = "AS_mean") of R's brglm2.
    expected = [
        [-0.41687, 0.44413, 0.66149, -0.43385, 0.13005, -0.66200, 0.35873],
        [-0.13851, 0.73136, 1.60325, -0.73136, -0.40671, -1.40361, 0.47923],
    ]
    assert np.abs(params[1:] - params[0] - expected).max() < 6e-6


def test_standard_errors_are_those_of_the_information_matrix_at_the_estimate():
    X, y, weight, offset = separable(3)
    result = firth(X, y, sample_weight=weight, offset=offset)
    X1 = np.column_stack([X, np.ones(len(X))])
    a = result.model.predict_proba(X, offset=offset)[:, :-1]
    information = np.einsum("m,mkl,mi,mj->kilj", weight, np.einsum("mk,kl->mkl", a, np.eye(2)), X1, X1)
    information -= np.einsum("m,mk,ml,mi,mj->kilj", weight, a, a, X1, X1)
    variances = np.linalg.inv(information.reshape(6, 6)).diagonal()
    assert result.inference(reference=2).standard_errors.ravel() ** 2 == pytest.approx(variances, rel=1e-8)


@given(st.lists(st.integers(0, 6), min_size=2, max_size=5).filter(lambda n: sum(x > 0 for x in n) > 1 and 0 not in n))
def test_intercepts_alone_add_half_to_each_count(counts):
    y = np.repeat(np.arange(len(counts)), counts)
    result = firth(np.ones((len(y), 1)), y, fit_intercept=False)
    share = (np.array(counts) + 0.5) / (len(y) + len(counts) / 2)
    assert softmax(result.model.coef[:, 0]) == pytest.approx(share, abs=1e-6)  # the square root of the tolerance


@pytest.mark.parametrize("table", [[[9, 0], [0, 8]], [[3, 2], [0, 5]], [[4, 0, 2], [0, 7, 1]], [[0, 3, 0], [2, 0, 6]]])
def test_a_saturated_table_adds_half_to_each_cell(table):
    table = np.array(table, np.float64)
    x, y = (index.ravel() for index in np.indices(table.shape))
    result = firth(x[:, None].astype(float), y, sample_weight=table.ravel())
    proba = result.model.predict_proba([[0.0], [1.0]])
    assert proba == pytest.approx((table + 0.5) / (table + 0.5).sum(axis=1, keepdims=True), abs=1e-6)
    theta = relative_to_the_last(result)
    assert np.isfinite(theta).all()
    # The variance of a log-odds ratio is the sum of those of its cells, of which each has the expected count n p.
    expected = proba * table.sum(axis=1, keepdims=True)
    last = table.shape[1] - 1
    slope = result.inference(reference=last).standard_errors[:, 0]
    assert slope**2 == pytest.approx((1 / expected[:, :last] + 1 / expected[:, last:]).sum(axis=0), rel=1e-4)


@given(st.integers(2, 4), st.integers(1, 3), st.integers(0, 10**6))
def test_the_gradient_is_the_derivative_of_the_definition(n_classes, n_features, seed):
    X, y, weight, offset = separable(n_classes, n_features, seed=seed)
    problem = Problem.from_labels(X, y, sample_weight=weight, offset=offset)
    loss, rng = FirthLoss(problem, ObjectiveOptions()), np.random.default_rng(seed)
    params, direction = rng.normal(size=loss.shape), rng.normal(size=loss.shape)

    def defined(params):
        return penalised_loss(params[:-1] - params[-1], X, y, weight, offset)

    value, grad = loss.value_and_grad(params)
    zero = loss.value(np.zeros(loss.shape)) - defined(np.zeros(loss.shape)) / weight.sum()
    assert value == pytest.approx(defined(params) / weight.sum() + zero, rel=1e-10, abs=1e-12)
    assert loss.value(params) == value
    h = 1e-5
    slope = (defined(params + h * direction) - defined(params - h * direction)) / (2 * h * weight.sum())
    assert np.vdot(grad, direction) == pytest.approx(slope, rel=1e-6, abs=1e-7)
    assert (
        np.abs(grad.sum(axis=0)).max() <= 1e-13 * np.abs(grad).max() + 1e-15
    )  # a shift of all classes changes nothing


@pytest.mark.parametrize("n_classes", [2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_fit_ends_in_a_minimum_of_the_definition(n_classes, seed):
    X, y, weight, offset = separable(n_classes, seed=seed)
    result = firth(X, y, sample_weight=weight, offset=offset)
    assert result.converged
    assert result.gap_kind == "stationary"
    ours = relative_to_the_last(result)

    def flat(theta):
        return penalised_loss(theta.reshape(ours.shape), X, y, weight, offset)

    # Another minimum may be lower: of seed 2 with two classes, one is. None is lower near this one.
    rng, size = np.random.default_rng(seed), np.abs(ours).max()
    nearby = [minimize(flat, 0.9 * ours.ravel(), method="BFGS", options={"gtol": 1e-7}).fun]
    nearby += [flat(ours.ravel() + scale * size * rng.normal(size=ours.size)) for scale in (1e-3, 1e-2, 1e-1)]
    assert flat(ours.ravel()) <= min(nearby) + 1e-9 * abs(min(nearby))


@pytest.mark.parametrize("shift", [[-10.0, 15.0, -30.0], [0.0, 0.0, -60.0], [30.0, 20.0, 0.0], [0.0, 40.0, 60.0]])
def test_an_offset_that_is_the_same_in_all_rows_is_only_taken_from_the_intercepts(shift):
    X, y, weight, _ = separable(3)
    expected = relative_to_the_last(firth(X, y, sample_weight=weight))
    result = firth(X, y, sample_weight=weight, offset=np.tile(shift, (len(y), 1)))
    expected[:, -1] -= np.array(shift)[:-1] - shift[-1]
    assert result.converged
    assert relative_to_the_last(result) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_the_gradient_is_right_where_all_classes_but_one_are_improbable():
    X, y, weight, _ = separable(3)
    loss = FirthLoss(
        Problem.from_labels(X, y, sample_weight=weight, offset=np.tile([-10.0, 15.0, -30.0], (len(y), 1))),
        ObjectiveOptions(),
    )
    at_zero = np.zeros(loss.shape)
    grad = loss.value_and_grad(at_zero)[1]
    h = 1e-4 / np.linalg.norm(grad)
    slope = (loss.value(at_zero + h * grad) - loss.value(at_zero - h * grad)) / (2 * h)
    assert slope == pytest.approx((grad**2).sum(), rel=1e-6)


def test_sparse_rows_repeated_rows_and_float32_give_the_same_fit():
    X, y, weight, offset = separable(3)
    X = X.astype(np.float32)
    expected = relative_to_the_last(firth(X.astype(np.float64), y, sample_weight=weight, offset=offset))
    n = weight.astype(int)
    for result in (
        firth(scipy.sparse.csr_array(X), y, sample_weight=weight, offset=offset),
        firth(np.repeat(X, n, axis=0), np.repeat(y, n), offset=np.repeat(offset, n, axis=0)),
        firth(X, y, sample_weight=weight, offset=offset),
        firth(X, y, sample_weight=weight, offset=offset, standardize=True),
    ):
        assert relative_to_the_last(result) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_weights_are_counts_so_that_their_scale_matters():
    X, y, weight, _ = separable(2)
    few, many = (np.abs(relative_to_the_last(firth(X, y, sample_weight=s * weight))).max() for s in (1, 100))
    assert many > 1.2 * few


def test_the_fit_does_not_depend_on_the_units_or_the_order_of_classes():
    X, y, _, _ = separable(3)
    expected = firth(X, y).model.predict_proba(X)
    scaled = firth(X * [1e-4, 1e4] + [3.0, -1e3], y).model.predict_proba(X * [1e-4, 1e4] + [3.0, -1e3])
    assert scaled == pytest.approx(expected, abs=1e-5)
    other = firth(X, np.array([2, 0, 1])[y]).model.predict_proba(X)[:, [2, 0, 1]]
    assert other == pytest.approx(expected, abs=1e-5)


def test_without_an_intercept():
    X, y, _, _ = separable(3)
    result = firth(X, y, fit_intercept=False)
    assert not result.model.intercept.any()
    assert result.converged
    problem = Problem.from_labels(X, y)
    loss = FirthLoss(problem, ObjectiveOptions(fit_intercept=False))
    params = np.column_stack([result.model.coef, result.model.intercept])
    assert np.abs(loss.value_and_grad(params)[1]).max() < 1e-6


def test_inference_has_wald_tests_and_no_ratios_of_likelihoods():
    X, y, _, _ = separable(3, m=60)
    found = firth(X, y).inference()
    assert np.isfinite(found.p_values).all()
    assert 0 <= found.wald_test(0).p_value <= 1
    assert "nan" in found.summary()
    assert np.isnan(found.likelihood_ratio.p_value)
    with pytest.raises(InputError, match="score test"):
        found.score_test(X[:, 0] ** 2)
    with pytest.raises(InputError, match="likelihood-ratio"):
        found.likelihood_ratio_test(firth(X[:, :1], y).inference())
    effects = firth(X, y).marginal_effects()
    assert np.isfinite(effects.std_errors).all()


def test_the_estimator_has_it_by_a_parameter():
    X, y, _, _ = separable(3)
    fitted = nbs.SoftmaxRegression(firth=True, tol=1e-12).fit(X, y)
    assert fitted.coef_ == pytest.approx(firth(X, y).model.coef, abs=1e-6)
    assert not hasattr(fitted, "partial_fit")
    with pytest.warns(nbs.ConvergenceWarning, match="firth=True"):
        nbs.SoftmaxRegression(C=np.inf).fit(X, y)


def test_a_fit_resumes_from_its_checkpoint(tmp_path):
    X, y, _, _ = separable(4)
    whole, path = firth(X, y), tmp_path / "c.npz"
    with pytest.warns(nbs.ConvergenceWarning):
        nbs.Trainer(penalty="firth", tol=1e-12, max_iter=4).fit(X, y, checkpoint=path)
    resumed = nbs.Trainer(penalty="firth", tol=1e-12).fit(X, y, checkpoint=path, resume=True)
    assert np.array_equal(resumed.model.coef, whole.model.coef)
    with pytest.raises(InputError):
        nbs.Trainer(tol=1e-12).fit(X, y, checkpoint=path, resume=True)


def test_the_bits_do_not_depend_on_the_order_of_X_in_memory():
    X, y, _, _ = separable(2, n_features=3, m=3000)
    of_order = [firth(np.array(X + 3, order=order), y).model.coef for order in "CF"]
    np.testing.assert_array_equal(of_order[0], of_order[1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"solver": "newton-cg"}, "'newton-cg' cannot minimise"),
        ({"solver": "sgd"}, "'sgd' cannot minimise"),
        ({"l2": 0.1}, "both penalty and l2"),
        ({"class_weight": "balanced"}, "no meaning with class_weight"),
        ({"label_smoothing": 0.1}, "no meaning with label_smoothing"),
    ],
)
def test_options_without_a_meaning_are_refused(options, said):
    X, y, _, _ = separable(3)
    with pytest.raises(InputError, match=said):
        nbs.Trainer(penalty="firth", **options).fit(X, y)


def test_what_cannot_be_fitted_is_refused():
    X, y, _, _ = separable(3)
    trainer, rng = nbs.Trainer(penalty="firth"), np.random.default_rng(0)
    partial = np.ones((25, 3), bool)
    partial[np.arange(25), y] = False
    for call, said in (
        (lambda: trainer.fit(np.column_stack([X, X @ [1.0, 2.0]]), y), "'x0', 'x1', 'x2' are collinear"),
        (lambda: trainer.fit(np.column_stack([X, np.ones(25)]), y), "the column 'x2' is constant, as the intercept is"),
        (lambda: trainer.fit(np.column_stack([X, np.zeros(25)]), y), "'x2' is 0 in every row"),
        (lambda: trainer.fit(rng.normal(size=(30, 600)), np.arange(30) % 3), "1202 parameters; expected at most 1000"),
        (lambda: trainer.fit(nbs.data.from_batches([(X, y)])), "memory of the host"),
        (lambda: trainer.fit(X, partial), "no meaning with partial labels"),
        (lambda: trainer.fit(X, y, init=1e5 * np.eye(3)), "singular at init"),
        (lambda: trainer.partial_fit(X, y, classes=[0, 1, 2]), "partial_fit needs"),
        (lambda: nbs.Objective(X, y, penalty="firth"), "use Trainer"),
        (lambda: nbs.Trainer(penalty="jeffreys"), "'firth'"),
    ):
        with pytest.raises(InputError, match=said):
            call()


@pytest.mark.parametrize("given", [{"bounds": (0, None)}, {"penalty_weight": [1.0, 0.0]}, {"l2": 0.1}])
def test_other_options_of_the_penalty_are_refused_beside_it(given):
    X, y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1])
    with pytest.raises(nbs.InputValueError, match=next(iter(given))):
        nbs.Trainer(penalty="firth", **given).fit(X, y)


@pytest.mark.parametrize("large", [1e6, 1e10, 1e200])
@pytest.mark.parametrize("sparse", [False, True])
def test_rows_without_weight_do_not_decide_the_scale(large, sparse):
    X, y, *_ = separable(3)
    more, labels = np.vstack([X, [[large, -large]]]), np.append(y, 0)
    given = scipy.sparse.csr_array(more) if sparse else more
    found = firth(given, labels, sample_weight=np.append(np.ones(len(y)), 0.0))
    np.testing.assert_allclose(found.model.coef, firth(X, y).model.coef, rtol=1e-6, atol=1e-8)


def test_columns_whose_squares_overflow_are_named():
    X, y, *_ = separable(3)
    with pytest.raises(nbs.InputValueError, match="squares of the column 'x0' exceed the range of float64"):
        firth(X * 1e160, y)
