"""Bad input to the functions, the objective and the boundary: one clear error each, which names the culprit.

Models, readers and the command line have their bad input in their own tests.
"""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import check

Z, Y = np.zeros((4, 3)), [0, 1, 2, 0]
NAN, INF = np.nan, np.inf


def read_only(a):
    a.flags.writeable = False
    return a


def with_value(value, at):
    X = np.zeros((4, 3))
    X[at] = value
    return X


def proba(**rows):
    """Rows of probabilities of which row 1 is replaced."""
    return np.array([[0.2, 0.3, 0.5], rows["row"], [1, 0, 0], [0, 0, 1.0]])


BAD = {
    # logits
    "scalar logits": (lambda: nbs.softmax(3.0), "0 dimensions"),
    "three dimensions": (lambda: nbs.log_softmax(np.zeros((2, 2, 2))), r"3 dimensions, shape \(2, 2, 2\)"),
    "no classes": (lambda: nbs.softmax(np.zeros((2, 0))), "0 classes"),
    "no classes, one row": (lambda: nbs.logsumexp([]), "0 classes"),
    "ragged": (lambda: nbs.softmax([[1.0, 2.0], [3.0]]), "no rectangular array"),
    "jacobian of a scalar": (lambda: nbs.softmax_jacobian(0.5), "proba has 0 dimensions"),
    # out
    "out of another shape": (
        lambda: nbs.softmax(Z, out=np.empty((4, 2))),
        r"out has shape \(4, 2\).*expected \(4, 3\)",
    ),
    "out of another dtype": (lambda: nbs.softmax(Z, out=np.empty((4, 3), np.float32)), "dtype float32.*float64"),
    "out not writeable": (lambda: nbs.softmax(Z, out=read_only(np.empty((4, 3)))), "read-only"),
    "out not contiguous": (lambda: nbs.log_softmax(Z, out=np.empty((3, 4)).T), "not C-contiguous"),
    "out overlaps": (lambda: nbs.softmax((m := np.zeros(15))[:12].reshape(4, 3), out=m[3:].reshape(4, 3)), "overlaps"),
    "out of the gradient": (lambda: nbs.cross_entropy_and_grad(Z, Y, out=np.empty(12)), r"out has shape \(12,\)"),
    "out of one row": (lambda: nbs.softmax(Z[0], out=np.empty((1, 3))), r"expected \(3,\)"),
    "out of the binary gradient": (
        lambda: nbs.binary_cross_entropy_and_grad([1.0, 2.0], [0, 1], out=np.empty(3)),
        r"out has shape \(3,\)",
    ),
    # targets
    "label too large": (lambda: nbs.cross_entropy(Z, [0, 1, 3, 0]), "class 3 at row 2, expected 0 to 2"),
    "negative label": (lambda: nbs.cross_entropy(Z, [0, -1, 1, 0]), "class -1 at row 1.*ignore_index"),
    "huge label": (lambda: nbs.cross_entropy(Z, [0, 1, 2**32, 0]), "class 4294967296 at row 2"),
    "unsigned label": (
        lambda: nbs.cross_entropy(Z, np.array([0, 1, 2**63, 0], np.uint64)),
        "at row 2, expected 0 to 2",
    ),
    "other label than the ignored one": (
        lambda: nbs.cross_entropy(Z, [0, 9, 8, 0], ignore_index=9),
        "class 8 at row 2",
    ),
    "too few labels": (lambda: nbs.cross_entropy(Z, [0, 1]), "2 entries, but logits has 4 rows"),
    "three dimensions of y": (lambda: nbs.cross_entropy(Z, np.zeros((4, 3, 1))), "3 dimensions"),
    "proba of another shape": (lambda: nbs.cross_entropy(Z, np.zeros((4, 2))), r"\(4, 2\).*\(4, 3\)"),
    "proba that do not sum to 1": (lambda: nbs.cross_entropy(Z, proba(row=[0.5, 0.6, 0.0])), "row 1.*sum 1.1"),
    "negative proba": (lambda: nbs.cross_entropy(Z, proba(row=[-0.5, 1.5, 0.0])), "row 1.*smallest -0.5"),
    "nan proba": (lambda: nbs.cross_entropy(Z, proba(row=[NAN, 0.5, 0.5])), "row 1 is no probability"),
    "binary label 2": (lambda: nbs.binary_cross_entropy([1.0, 1.0], [0, 2]), "2 at position 1"),
    "binary probability": (lambda: nbs.binary_cross_entropy([1.0], [1.5]), "1.5 at position 0"),
    "binary nan": (lambda: nbs.binary_cross_entropy([1.0], [NAN]), "nan at position 0"),
    "binary of another shape": (lambda: nbs.binary_cross_entropy([1.0, 2.0], [1]), r"\(1,\).*\(2,\)"),
    # weights
    "too few sample weights": (lambda: nbs.cross_entropy(Z, Y, sample_weight=[1.0]), r"sample_weight.*\(1,\).*\(4,\)"),
    "negative sample weight": (
        lambda: nbs.cross_entropy(Z, Y, sample_weight=[1, 1, -1, 1]),
        r"sample_weight\[2\] is -1",
    ),
    "nan sample weight": (lambda: nbs.cross_entropy(Z, Y, sample_weight=[1, NAN, 1, 1]), r"sample_weight\[1\] is nan"),
    "infinite sample weight": (
        lambda: nbs.cross_entropy(Z, Y, sample_weight=[1, INF, 1, 1]),
        r"sample_weight\[1\] is inf",
    ),
    "all weights zero": (lambda: nbs.cross_entropy(Z, Y, sample_weight=np.zeros(4)), "sample_weight is all zero"),
    "negative class weight": (lambda: nbs.cross_entropy(Z, Y, class_weight=[1, 1, -1]), r"class_weight\[2\] is -1"),
    "all class weights zero": (lambda: nbs.cross_entropy(Z, Y, class_weight=np.zeros(3)), "class_weight is all zero"),
    "too many class weights": (
        lambda: nbs.cross_entropy(Z, Y, class_weight=np.ones(4)),
        r"class_weight.*\(4,\).*\(3,\)",
    ),
    "weight of no class": (lambda: nbs.cross_entropy(Z, Y, class_weight={3: 1.0}), "class_weight names class 3"),
    "binary sample weight": (
        lambda: nbs.binary_cross_entropy([1.0], [1], sample_weight=[1, 1]),
        "sample_weight has shape",
    ),
    "binary class weight": (
        lambda: nbs.binary_cross_entropy([1.0], [1], class_weight=[1, 1, 1]),
        "class_weight has shape",
    ),
    # options
    "smoothing above 1": (lambda: nbs.cross_entropy(Z, Y, label_smoothing=1.5), "label_smoothing is 1.5"),
    "negative smoothing": (
        lambda: nbs.binary_cross_entropy([1.0], [1], label_smoothing=-0.1),
        "label_smoothing is -0.1",
    ),
    "nan smoothing": (lambda: nbs.cross_entropy(Z, Y, label_smoothing=NAN), "label_smoothing is nan"),
    "reduction": (lambda: nbs.cross_entropy(Z, Y, reduction="average"), "'average'.*'mean', 'sum', 'none'"),
    "binary reduction": (lambda: nbs.binary_cross_entropy([1.0], [1], reduction=""), "reduction is ''"),
    # the objective
    "X of one dimension": (lambda: nbs.Objective(np.zeros(4), Y), r"1 dimension, shape \(4,\).*reshape"),
    "X of three dimensions": (lambda: nbs.Objective(np.zeros((4, 2, 2)), Y), "3 dimensions"),
    "X without features": (lambda: nbs.Objective(np.zeros((4, 0)), Y), "no features"),
    "X and y of different lengths": (lambda: nbs.Objective(Z, [0, 1, 2]), "3 entries, but X has 4 rows"),
    "nan in X": (lambda: nbs.Objective(with_value(NAN, (2, 1)), Y), "nan at row 2, column 1"),
    "inf in X": (lambda: nbs.Objective(with_value(-INF, (3, 0)), Y), "-inf at row 3, column 0"),
    "objective without samples": (lambda: nbs.Objective(np.zeros((0, 3)), np.empty(0, int), n_classes=2), "no samples"),
    "one class": (lambda: nbs.Objective(Z, [0, 0, 0, 0]), "only class 0, expected at least 2"),
    "n_classes of 1": (lambda: nbs.Objective(Z, [0, 0, 0, 0], n_classes=1), "n_classes is 1, expected at least 2"),
    "one column of proba": (lambda: nbs.Objective(Z, np.ones((4, 1))), "1 classes, expected at least 2"),
    "objective label": (lambda: nbs.Objective(Z, Y, n_classes=2), "class 2 at row 2, expected 0 to 1"),
    "objective weight": (lambda: nbs.Objective(Z, Y, sample_weight=[1, 1, 1, -2]), r"sample_weight\[3\] is -2"),
    "objective weights zero": (lambda: nbs.Objective(Z, Y, sample_weight=np.zeros(4)), "all zero"),
    "weights that cancel": (
        lambda: nbs.Objective(Z, Y, sample_weight=[1, 0, 0, 1], class_weight=[0, 1, 1]),
        "nothing is left to learn from",
    ),
    "negative l2": (lambda: nbs.Objective(Z, Y, l2=-1.0), "l2 is -1"),
    "infinite l1": (lambda: nbs.Objective(Z, Y, l1=INF), "l1 is inf"),
    "offset": (lambda: nbs.Objective(Z, Y, offset=np.zeros(3)), r"offset has shape \(3,\), expected \(4, 3\)"),
    "nan offset": (lambda: nbs.Objective(Z, Y, offset=with_value(NAN, (1, 2))), "nan at row 1, column 2"),
    "device": (lambda: nbs.Objective(Z, Y, device="tpu"), "device is 'tpu'"),
    "no threads": (lambda: nbs.Objective(Z, Y, n_threads=0), "n_threads is 0"),
    "too many threads": (lambda: nbs.Objective(Z, Y, n_threads=10**6), "NUMBA_NUM_THREADS"),
    "params of another shape": (
        lambda: nbs.Objective(Z, Y).value(np.zeros((3, 3))),
        r"params has shape \(3, 3\), expected \(3, 4\)",
    ),
    "flat params": (lambda: nbs.Objective(Z, Y).value_and_grad(np.zeros(12)), r"params has shape \(12,\)"),
    "nan params": (lambda: nbs.Objective(Z, Y).value(np.full((3, 4), NAN)), "params contains NaN"),
    "direction": (lambda: nbs.Objective(Z, Y).hvp(np.zeros((3, 4)), np.zeros((4, 3))), r"v has shape \(4, 3\)"),
}

BAD_TYPE = {
    "complex logits": (lambda: nbs.softmax(Z + 1j), "complex.*real"),
    "object logits": (lambda: nbs.softmax(np.array([[1, None]], object)), "dtype object"),
    "text logits": (lambda: nbs.softmax([["1", "2"]]), "expected float32 or float64"),
    "dates": (lambda: nbs.sigmoid(np.array(["2020-01-01"], "M8[D]")), "expected float32 or float64"),
    "complex X": (lambda: nbs.Objective(Z + 1j, Y), "X is complex"),
    "object X": (lambda: nbs.Objective(Z.astype(object), Y), "X has dtype object"),
    "text y": (lambda: nbs.cross_entropy(Z, list("abca")), "y has dtype.*np.unique"),
    "object y": (lambda: nbs.cross_entropy(Z, np.array(Y, object)), "y has dtype object"),
    "text y of an objective": (lambda: nbs.Objective(Z, list("abca")), "y has dtype.*np.unique"),
    "float y": (lambda: nbs.cross_entropy(Z, [0.0, 1.0, 2.0, 0.0]), "class indices must be integers"),
    "float y of an objective": (lambda: nbs.Objective(Z, [0.0, 1.0, 2.0, 0.0]), "class indices must be integers"),
    "text binary y": (lambda: nbs.binary_cross_entropy([1.0], ["a"]), "y has dtype"),
    "out no array": (lambda: nbs.softmax(Z, out=[0.0]), "out is a list"),
    "weight by name": (lambda: nbs.cross_entropy(Z, Y, class_weight="balanced"), "class_weight is 'balanced'"),
    "text weight": (lambda: nbs.cross_entropy(Z, Y, sample_weight=list("abcd")), "sample_weight has dtype"),
    "complex weight": (lambda: nbs.cross_entropy(Z, Y, sample_weight=[1j] * 4), "sample_weight is complex"),
    "text smoothing": (lambda: nbs.cross_entropy(Z, Y, label_smoothing="0.1"), "label_smoothing is '0.1'"),
    "text l2": (lambda: nbs.Objective(Z, Y, l2="1"), "l2 is '1'"),
    "boolean l2": (lambda: nbs.Objective(Z, Y, l2=True), "l2 is True"),
    "n_classes": (lambda: nbs.Objective(Z, Y, n_classes=3.0), "n_classes is 3.0, expected a whole number"),
    "intercept": (lambda: nbs.Objective(Z, Y, fit_intercept="yes"), "fit_intercept is 'yes'"),
    "threads": (lambda: nbs.Objective(Z, Y, n_threads=1.5), "n_threads is 1.5"),
    "params": (lambda: nbs.Objective(Z, Y).value(np.full((3, 4), 1j)), "params is complex"),
    "ignore_index": (lambda: nbs.cross_entropy(Z, Y, ignore_index="none"), "ignore_index is 'none'"),
    "weight of a class that is text": (lambda: nbs.cross_entropy(Z, Y, class_weight={1: "heavy"}), "class_weight"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_values_are_refused_by_name(case):
    call, message = BAD[case]
    with pytest.raises(nbs.InputValueError, match=message):
        call()


@pytest.mark.parametrize("case", BAD_TYPE)
def test_bad_types_are_refused_by_name(case):
    call, message = BAD_TYPE[case]
    with pytest.raises(nbs.InputTypeError, match=message):
        call()


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_a_refused_call_leaves_out_as_it_was(reduction):
    out = np.full((4, 3), 7.0)
    with pytest.raises(nbs.InputValueError):
        nbs.cross_entropy_and_grad(Z, [0, 1, 2, 5], reduction=reduction, out=out)
    with pytest.raises(nbs.InputValueError):
        nbs.cross_entropy_and_grad(Z, Y, sample_weight=[0, 0, 0, 0], reduction=reduction, out=out)
    assert (out == 7).all()


def test_one_family_that_is_also_pythons_own():
    assert issubclass(nbs.InputValueError, nbs.InputError)
    assert issubclass(nbs.InputTypeError, nbs.InputError)
    assert issubclass(nbs.InputValueError, ValueError)
    assert issubclass(nbs.InputTypeError, TypeError)


# --- the boundary itself ---


def test_arrays_as_the_kernels_need_them_are_not_copied():
    for dtype in (np.float32, np.float64):
        X = np.zeros((5, 3), dtype)
        assert check.design(X) is X
        assert check.design(X[::2, ::-1]).base is X
        assert np.shares_memory(check.logits(X)[0], X)
        frozen = read_only(np.zeros((5, 3), dtype))
        view = check.design(frozen)
        assert np.shares_memory(view, frozen)
        assert view.flags.writeable


def test_a_view_of_read_only_memory_keeps_it_alive():
    view = check.writeable_view(read_only(np.arange(100_000.0)))
    others = [np.full(100_000, -1.0) for _ in range(5)]  # would land in memory that was freed
    assert len(others) == 5
    assert np.array_equal(view, np.arange(100_000.0))


def test_the_first_bad_number_is_found_beyond_the_first_block():
    X = np.zeros((300_000, 2), np.float32)
    assert check.first_not_finite(X) is None
    X[299_999, 1] = NAN
    assert check.first_not_finite(X) == (299_999, 1)
    X[200_000, 0] = INF
    assert check.first_not_finite(X) == (200_000, 0)


def test_finite_numbers_whose_sum_overflows_are_no_error():
    X = np.full((4, 2), 1e308)
    assert check.design(X) is X
    X[2] = [INF, -INF]
    assert check.first_not_finite(X) == (2, 0)


@pytest.mark.parametrize(
    ("y", "codes", "classes"),
    [
        ([3, 1, 3], [1, 0, 1], [1, 3]),
        (["b", "a", "b"], [1, 0, 1], ["a", "b"]),
        ([True, False, True], [1, 0, 1], [False, True]),
        ([2.0, 1.0, 2.0], [1, 0, 1], [1.0, 2.0]),
        (np.array(["b", "a", "b"], object), [1, 0, 1], ["a", "b"]),
        (np.array([[3], [1], [3]]), [1, 0, 1], [1, 3]),
    ],
    ids=["integers", "text", "booleans", "whole floats", "objects", "column"],
)
def test_labels_become_indices_into_sorted_classes(y, codes, classes):
    found_codes, found_classes = check.labels(y, n_samples=3)
    assert found_codes.tolist() == codes
    assert found_classes.tolist() == classes


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([1.5, 2.0], nbs.InputValueError, "1.5 at row 0: continuous"),
        ([1.0, NAN], nbs.InputValueError, "nan at row 1"),
        ([1, 2, 3], nbs.InputValueError, "X has 2 rows, but y has 3"),
        ([[1, 2], [3, 4]], nbs.InputValueError, "2 dimensions"),
        ([1j, 2j], nbs.InputTypeError, "complex"),
        (np.array(["a", None], object), nbs.InputTypeError, "None of type NoneType"),
        (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), nbs.InputTypeError, "dtype datetime64"),
    ],
)
def test_bad_labels_are_refused(y, error, message):
    with pytest.raises(error, match=message):
        check.labels(y, n_samples=2)


def test_frames_keep_their_feature_names():
    pandas = pytest.importorskip("pandas")
    array, names = check.frame(pandas.DataFrame({"a": [1.0, 2.0], "b": [3, 4]}))
    assert names == ("a", "b")
    assert array.tolist() == [[1, 3], [2, 4]]
    with pytest.raises(nbs.InputTypeError, match="'b'"):
        check.frame(pandas.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}))
    assert check.frame(Z)[0] is Z
    assert check.frame(Z)[1] is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("b", "a"), "another order.*column 0 is 'b'"),
        (("a",), "lacks 'b'"),
        (("a", "b", "c"), "unknown 'c'"),
    ],
)
def test_features_must_be_the_trained_ones_in_their_order(given, message):
    check.same_features(("a", "b"), ("a", "b"))
    check.same_features(None, ("a", "b"))
    with pytest.raises(nbs.InputValueError, match=message):
        check.same_features(given, ("a", "b"))
