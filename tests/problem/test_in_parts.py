"""Problems in parts: the fit of blocks of rows is that of the rows in memory."""

import numpy as np
import pytest
from scipy.sparse import csr_array

import nbsoftmax as nbs
from nbsoftmax.data.blocks import Block
from nbsoftmax.errors import InputTypeError, InputValueError
from nbsoftmax.problem import Problem, ProblemInParts
from nbsoftmax.problem.survey import Survey
from nbsoftmax.solvers.table import SOLVERS

M, N, K = 900, 5, 4
rng = np.random.default_rng(5)
X = rng.normal(size=(M, N))
Y = np.array(["ant", "bee", "cat", "dog"])[np.argmax(X @ rng.normal(size=(N, K)) + rng.gumbel(size=(M, K)), axis=1)]
W = rng.uniform(0.2, 3.0, M)


class Source:
    """Blocks of arrays; `n` rows each."""

    feature_names = None

    def __init__(self, X=X, y=Y, weight=None, offset=None, n=200):
        self.arrays, self.n, self.passes = (X, y, weight, offset), n, 0

    def blocks(self, dtype=None):
        self.passes += 1
        for start in range(0, self.arrays[0].shape[0], self.n):
            part = slice(start, start + self.n)
            given = [None if a is None else a[part] for a in self.arrays]
            yield Block(given[0] if dtype is None else given[0].astype(dtype), *given[1:])


OPTIONS = {
    "plain": ({}, {}),
    "weights": ({"weight": W}, {}),
    "balanced": ({"weight": W}, {"class_weight": "balanced"}),
    "class weights": ({}, {"class_weight": {"bee": 3.0}}),
    "smoothing": ({"weight": W}, {"label_smoothing": 0.1, "class_weight": {"ant": 0.5}}),
    "huge weights": ({"weight": W * 1e300}, {"class_weight": {"cat": 1e-200}}),
    "tiny weights": ({"weight": W * 1e-300}, {"class_weight": {"cat": 1e200}}),
    "a sum that overflows": ({"weight": W * 5e307}, {}),
    "a sum of smoothed targets that overflows": ({"weight": W * 5e307}, {"label_smoothing": 0.1}),
    "products that overflow": ({"weight": W * 5e307}, {"class_weight": {"cat": 1e10}}),
    "blocks of several magnitudes": ({"weight": W * np.repeat([1e-9, 1.0, 0.0, 1e9, 1e300], [200] * 4 + [100])}, {}),
    "small weights and none": ({"weight": W * np.repeat([0.0, 1e-305, 0.0, 1e-300, 1e-290], [200] * 4 + [100])}, {}),
}


def test_balanced_weights_are_in_the_order_of_given_classes():
    classes = np.array(["cat", "no such", *np.setdiff1d(np.unique(Y), ["cat"])])
    options = {"class_weight": "balanced"}
    mass = ProblemInParts.from_blocks(Source(weight=W), classes=classes, **options).class_mass()
    whole = Problem.from_labels(X, Y, sample_weight=W, **options)
    expected = dict(zip(whole.classes.tolist(), whole.class_mass(), strict=True))
    share = np.array([expected.get(label, 0.0) for label in classes.tolist()])
    np.testing.assert_allclose(mass / mass.sum(), share / share.sum(), rtol=1e-12)


@pytest.mark.parametrize("case", OPTIONS)
def test_the_problem_in_parts_is_that_of_the_rows_in_memory(case):
    rows, options = OPTIONS[case]
    parts = ProblemInParts.from_blocks(Source(**rows), **options)
    whole = Problem.from_labels(X, Y, sample_weight=rows.get("weight"), **options)
    np.testing.assert_array_equal(parts.classes, whole.classes)
    assert parts.weight_sum == pytest.approx(whole.weight_sum, rel=1e-12)
    np.testing.assert_allclose(parts.class_mass(), whole.class_mass(), rtol=1e-12)
    assert parts.separable_below() == pytest.approx(whole.separable_below(), rel=1e-12)
    params, direction = rng.normal(size=(2, K, N + 1))
    ours, theirs = (p.backend(fit_intercept=True, n_threads=None) for p in (parts, whole))
    for name, args in {
        "loss_and_grad": (params,),
        "hess_vec": (params, direction),
        "gram": (params,),
        "curvatures": (params,),
        "class_grams": (params,),
        "hessian": (params,),
    }.items():
        found, expected = getattr(ours, name)(*args), getattr(theirs, name)(*args)
        pairs = zip(found, expected, strict=True) if name == "loss_and_grad" else [(found, expected)]
        for a, b in pairs:
            mean = np.asarray(b) / theirs.weight_sum
            np.testing.assert_allclose(a / ours.weight_sum, mean, rtol=1e-10, atol=1e-12 * np.abs(mean).max())


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "sgd"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_solver_that_makes_passes_finds_the_same_minimum(solver, dtype):
    penalty = {"l1": 0.01} if solver == "prox-newton" else {"l2": 0.01}
    options = {"solver": solver, "tol": 1e-9, "dtype": dtype, **penalty}
    parts = nbs.Trainer(**options).fit(Source(weight=W))
    whole = nbs.Trainer(**options).fit(X, Y, sample_weight=W)
    assert parts.converged
    assert parts.gap <= 1e-9 * parts.objective * (1 + 1e-9)
    assert parts.objective == pytest.approx(whole.objective, rel=2e-9)
    np.testing.assert_array_equal(parts.model.classes, whole.model.classes)


def test_probabilities_and_offsets_come_in_blocks_too():
    proba, offset = rng.dirichlet(np.ones(K), size=M), rng.normal(size=(M, K))
    parts = ProblemInParts.from_blocks(Source(y=proba, weight=W, offset=offset), class_weight=[1.0, 2.0, 0.5, 1.0])
    whole = Problem.from_indices(X, proba, sample_weight=W, offset=offset, class_weight=[1.0, 2.0, 0.5, 1.0])
    params = rng.normal(size=(K, N + 1))
    ours, theirs = (p.backend(fit_intercept=True, n_threads=None) for p in (parts, whole))
    assert ours.loss(params) / ours.weight_sum == pytest.approx(theirs.loss(params) / theirs.weight_sum, rel=1e-12)
    np.testing.assert_allclose(parts.class_mass(), whole.class_mass(), rtol=1e-12)


@pytest.mark.parametrize(
    ("labels", "odds"), [((-100, -3, 7, 120), (-101, -99, 121)), ((-2, -1, 0, 1), (-3, 2))], ids=["gaps", "consecutive"]
)
@pytest.mark.parametrize("dtype", [np.int8, np.int64])
def test_labels_that_are_whole_numbers_are_found_in_a_table(dtype, labels, odds):
    y = np.array(labels, dtype)[np.unique(Y, return_inverse=True)[1]]
    parts, whole = nbs.Trainer(l2=0.01).fit(Source(y=y)), nbs.Trainer(l2=0.01).fit(X, y)
    assert parts.objective == pytest.approx(whole.objective, rel=2e-6)
    np.testing.assert_array_equal(parts.model.classes, whole.model.classes)
    for odd in odds:
        other = y.astype(np.int64)
        other[500] = odd
        with pytest.raises(InputValueError, match=f"contains the label {odd}"):
            nbs.Trainer(l2=0.01).fit(Source(y=y), validation_data=Source(y=other))


def test_sparse_blocks_stay_sparse():
    sparse = csr_array(np.where(np.abs(X) > 1, X, 0.0))
    parts = nbs.Trainer(l2=0.01, tol=1e-9).fit(Source(X=sparse))
    assert parts.objective == pytest.approx(nbs.Trainer(l2=0.01, tol=1e-9).fit(sparse, Y).objective, rel=2e-9)


def test_a_class_may_be_missing_in_a_block():
    order = np.argsort(Y, kind="stable")
    parts = nbs.Trainer(l2=0.01, tol=1e-9).fit(Source(X=X[order], y=Y[order]))
    assert parts.objective == pytest.approx(nbs.Trainer(l2=0.01, tol=1e-9).fit(X, Y).objective, rel=2e-9)


def test_validation_data_may_be_a_source():
    result = nbs.Trainer(l2=0.01).fit(Source(), validation_data=Source(n=77))
    again = nbs.Trainer(l2=0.01).fit(Source(), validation_data=(X, Y))
    np.testing.assert_allclose(result.history["validation_loss"], again.history["validation_loss"], rtol=1e-12)


def test_a_resumed_fit_has_the_bits_of_an_uninterrupted_one(tmp_path):
    path = tmp_path / "state"
    whole = nbs.Trainer(l2=1e-3, solver="lbfgs").fit(Source())
    with pytest.warns(nbs.ConvergenceWarning):
        nbs.Trainer(l2=1e-3, solver="lbfgs", max_iter=3).fit(Source(), checkpoint=path)
    resumed = nbs.Trainer(l2=1e-3, solver="lbfgs").fit(Source(), checkpoint=path, resume=True)
    assert resumed.model.coef.tobytes() == whole.model.coef.tobytes()
    other = X.copy()
    other[3, 2] += 1
    with pytest.raises(InputValueError, match="other data"):
        nbs.Trainer(l2=1e-3, solver="lbfgs").fit(Source(X=other), checkpoint=path, resume=True)


BAD = {
    "a NaN": ({"X": np.where(np.arange(M * N).reshape(M, N) == 2000, np.nan, X)}, "begins at row 400.*NaN"),
    "one class": ({"y": np.repeat("a", M)}, "only the class"),
    "no rows": ({"X": X[:0], "y": Y[:0]}, "the source has no rows"),
    "labels of two kinds": ({"y": np.array([1] * 450 + ["a"] * 450, object)}, "several kinds"),
    "an offset of another width": ({"offset": np.zeros((M, 3))}, "offset has 3 columns"),
    "a negative weight": ({"weight": -W}, "sample_weight"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_named(case):
    rows, message = BAD[case]
    with pytest.raises((InputValueError, InputTypeError), match=message):
        nbs.Trainer().fit(Source(**rows))


def test_blocks_of_another_dtype_are_refused_with_both():
    surveys = [Survey.of(Block(np.eye(3, dtype=dtype), np.arange(3)), None) for dtype in (np.float64, np.float32)]
    with pytest.raises(InputValueError, match="is float64 in the first, float32 here; give the same dtype"):
        surveys[0] + surveys[1]


def test_a_source_whose_rows_change_between_passes_is_refused():
    class Shrinking(Source):
        def blocks(self, dtype=None):
            yield from list(super().blocks(dtype))[: 5 if self.passes <= 1 else 3]

    with pytest.raises(InputValueError, match="600 rows in this pass, but 900 in the first"):
        nbs.Trainer().fit(Shrinking())


def test_an_error_of_the_source_arrives_unchanged():
    class Broken(Source):
        def blocks(self, dtype=None):
            yield from list(super().blocks(dtype))[:2]
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        nbs.Trainer().fit(Broken())


def test_what_a_source_cannot_have_is_refused():
    with pytest.raises(InputTypeError, match="give it alone"):
        nbs.Trainer().fit(Source(), Y)
    with pytest.raises(InputValueError, match="device='cpu'"):
        nbs.Trainer(device="cuda").fit(Source())
    with pytest.raises(InputValueError, match="validation_data instead"):
        nbs.Trainer(validation_fraction=0.1).fit(Source())
    with pytest.raises(InputValueError, match="inference needs all rows in memory"):
        nbs.Trainer(l2=0.1).fit(Source()).inference()
