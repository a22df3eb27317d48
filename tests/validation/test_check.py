"""Bad input to the functions, the objective and the boundary: one clear error each, which names the culprit.

Models, readers and the command line have their bad input in their own tests.
"""

import sys
import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import nbsoftmax as nbs
from nbsoftmax import validation
from nbsoftmax.errors import plain

Z, Y = np.zeros((4, 3)), [0, 1, 2, 0]
MODEL = nbs.SoftmaxModel(np.eye(3), np.zeros(3), [0, 1, 2])
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


def masked(a):
    """The array with its second value masked."""
    a = np.array(a)
    return np.ma.array(a, mask=np.arange(a.size).reshape(a.shape) == 1)


class Tensor:
    """A tensor on the CPU that raises what PyTorch's raise where NumPy cannot read them."""

    def __init__(self, dtype="torch.float32", *, requires_grad=False, layout="torch.strided"):
        self.dtype, self.requires_grad, self.layout = dtype, requires_grad, layout
        self.shape, self.ndim = (4, 3), 2

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        raise TypeError(f"Got unsupported ScalarType {self.dtype}")

    def float(self):
        """Return the tensor in float32."""

    def __dlpack_device__(self):
        return 1, 0


class PydataSparse:
    """As the arrays of the package sparse are, which refuse to become dense unasked."""

    nnz, shape, ndim, dtype = 1, (4, 3), 2, np.dtype(float)

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Cannot convert a sparse array to dense automatically.")

    def todense(self):
        """Return the dense array."""


BAD = {
    # logits
    "scalar logits": (lambda: nbs.softmax(3.0), "0 dimensions"),
    "three dimensions": (lambda: nbs.log_softmax(np.zeros((2, 2, 2))), r"3 dimensions, shape \(2, 2, 2\)"),
    "no classes": (lambda: nbs.softmax(np.zeros((2, 0))), "0 classes"),
    "no classes, one row": (lambda: nbs.logsumexp([]), "0 classes"),
    "ragged": (lambda: nbs.softmax([[1.0, 2.0], [3.0]]), "must be rectangular: its rows have different"),
    "ragged y": (lambda: nbs.cross_entropy(Z, [[0], [1], [2], [0, 1]]), "y must be rectangular"),
    "ragged probabilities": (lambda: nbs.cross_entropy(Z[:2], [[1.0, 0, 0], [1.0, 0]]), "y must be rectangular"),
    "ragged weights": (
        lambda: nbs.cross_entropy(Z, Y, sample_weight=[[1], [1, 2], 1, 1]),
        "sample_weight must be rectangular",
    ),
    "ragged class weights": (
        lambda: nbs.cross_entropy(Z, Y, class_weight=[[1], [1, 2], 1]),
        "class_weight must be rectangular",
    ),
    "ragged y of an objective": (lambda: nbs.Objective(Z, [[0], [1], [2], [0, 1]]), "y must be rectangular"),
    "ragged binary y": (lambda: nbs.binary_cross_entropy([1.0, 2.0], [[1], [0, 1]]), "y must be rectangular"),
    "ragged binary weights": (
        lambda: nbs.binary_cross_entropy([1.0, 2.0], [1, 0], sample_weight=[[1], [0, 1]]),
        "sample_weight must be rectangular",
    ),
    "ignored probabilities": (
        lambda: nbs.cross_entropy(Z, np.full((4, 3), 1 / 3), ignore_index=-100),
        "ignore_index is -100, but y has rows of probabilities",
    ),
    "ignored binary probabilities": (
        lambda: nbs.binary_cross_entropy([1.0], [0.5], ignore_index=-1),
        "ignore_index is -1, but y has probabilities",
    ),
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
    # masked arrays
    "masked logits": (lambda: nbs.softmax(masked(Z)), r"logits is a masked array with 1 masked.*filled"),
    "masked y": (lambda: nbs.cross_entropy(Z, masked(Y)), r"y is a masked array with 1 masked.*first at \(1,\)"),
    "masked binary y": (lambda: nbs.binary_cross_entropy(np.zeros(4), masked([0, 1, 0, 1])), "y is a masked array"),
    "masked sample weight": (
        lambda: nbs.cross_entropy(Z, Y, sample_weight=masked(np.ones(4))),
        "sample_weight is a masked array",
    ),
    "masked binary sample weight": (
        lambda: nbs.binary_cross_entropy(np.zeros(4), [0, 1, 0, 1], sample_weight=masked(np.ones(4))),
        "sample_weight is a masked array",
    ),
    "masked class weight": (
        lambda: nbs.cross_entropy(Z, Y, class_weight=masked(np.ones(3))),
        "class_weight is a masked array",
    ),
    "masked X": (lambda: nbs.Objective(masked(Z), Y), r"X is a masked array.*first at \(0, 1\).*drop such rows"),
    "masked y of an objective": (lambda: nbs.Objective(Z, masked(Y)), "y is a masked array"),
    "masked offset": (lambda: nbs.Objective(Z, Y, offset=masked(np.zeros((4, 3)))), "offset is a masked array"),
    "masked params": (lambda: nbs.Objective(Z, Y).value(masked(np.zeros((3, 4)))), "params is a masked array"),
    "masked X of a fit": (lambda: nbs.Trainer().fit(masked(Z), Y), "X is a masked array"),
    "masked labels": (lambda: nbs.Trainer().fit(Z, masked(Y)), "y is a masked array"),
    "masked X of a prediction": (lambda: MODEL.predict(masked(Z)), "X is a masked array"),
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
    "an index that is no index": (
        lambda: nbs.Objective(Z, [0, 10**9, 5, 1]),
        "class 1000000000, which makes 1000000001 classes for 4 samples.*np.unique",
    ),
    "an unsigned index that is no index": (
        lambda: nbs.Objective(Z, np.array([0, 2**63, 5, 1], np.uint64)),
        "class 9223372036854775808",
    ),
    "n_classes beyond 32 bits": (lambda: nbs.Objective(Z, Y, n_classes=10**12), "n_classes is 1000000000000.*2..31"),
    "n_classes beyond the memory": (
        lambda: nbs.Objective(np.zeros((4, 10**5)), Y, n_classes=2**31 - 1),
        "2147483647, with 100000 features: parameters and gradient take .* GiB",
    ),
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
    # what NumPy cannot read
    "sparse matrix": (lambda: nbs.Objective(scipy.sparse.csr_matrix(Z), Y), r"sparse csr_matrix.*X\.toarray\(\)"),
    "sparse array": (lambda: MODEL.predict(scipy.sparse.csc_array(Z)), r"sparse csc_array.*X\.toarray\(\)"),
    "sparse X of a fit": (lambda: nbs.Trainer().fit(scipy.sparse.coo_array(Z), Y), r"X\.toarray\(\)"),
    "sparse targets": (lambda: nbs.cross_entropy(Z, scipy.sparse.eye_array(4, 3)), r"y\.toarray\(\)"),
    "sparse labels": (lambda: MODEL.score(Z, scipy.sparse.csr_array([Y]).T), r"y\.toarray\(\)"),
    "pydata's sparse": (lambda: nbs.Objective(PydataSparse(), Y), r"sparse PydataSparse.*X\.todense\(\)"),
    "tensor with a gradient": (lambda: MODEL.predict(Tensor(requires_grad=True)), r"gradient; give X\.detach\(\)"),
    "bfloat16": (lambda: nbs.softmax(Tensor("torch.bfloat16")), r"bfloat16.*give logits\.float\(\)"),
    "bfloat16 with a gradient": (
        lambda: nbs.Trainer().fit(Tensor("torch.bfloat16", requires_grad=True), Y),
        r"give X\.detach\(\)\.float\(\)",
    ),
    "sparse tensor": (lambda: nbs.Objective(Tensor(layout="torch.sparse_coo"), Y), r"X\.to_dense\(\)"),
    "weights with a gradient": (
        lambda: nbs.cross_entropy(Z, Y, sample_weight=Tensor(requires_grad=True)),
        r"give sample_weight\.detach\(\)",
    ),
    "labels with a gradient": (lambda: nbs.Trainer().fit(Z, Tensor(requires_grad=True)), r"give y\.detach\(\)"),
    "another tensor": (lambda: nbs.softmax(Tensor("torch.float8")), r"Tensor that NumPy cannot read \(Got unsupported"),
    "structured array": (
        lambda: nbs.Objective(np.zeros(4, [("a", float), ("b", float)]), Y),
        r"X is a structured array.*structured_to_unstructured\(X\)",
    ),
    "no array": (lambda: nbs.softmax({1.0, 2.0}), "logits is a set, expected an array"),
    "no X": (lambda: MODEL.predict(None), "X is None, expected an array"),
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
        nbs.cross_entropy_and_grad(Z, Y, sample_weight=[1, 1, 1, -1], reduction=reduction, out=out)
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
        assert validation.design(X) is X
        assert validation.design(X[::2, ::-1]).base is X
        assert np.shares_memory(validation.logits(X)[0], X)
        frozen = read_only(np.zeros((5, 3), dtype))
        view = validation.design(frozen)
        assert np.shares_memory(view, frozen)
        assert view.flags.writeable


def test_a_view_of_read_only_memory_keeps_it_alive():
    view = validation.writeable_view(read_only(np.arange(100_000.0)))
    others = [np.full(100_000, -1.0) for _ in range(5)]  # would land in memory that was freed
    assert len(others) == 5
    assert np.array_equal(view, np.arange(100_000.0))


def test_the_first_bad_number_is_found_beyond_the_first_block():
    X = np.zeros((300_000, 2), np.float32)
    assert validation.first_not_finite(X) is None
    X[299_999, 1] = NAN
    assert validation.first_not_finite(X) == (299_999, 1)
    X[200_000, 0] = INF
    assert validation.first_not_finite(X) == (200_000, 0)


def test_finite_numbers_whose_sum_overflows_are_no_error():
    X = np.full((4, 2), 1e308)
    assert validation.design(X) is X
    X[2] = [INF, -INF]
    assert validation.first_not_finite(X) == (2, 0)


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
    found_codes, found_classes = validation.labels(y, n_samples=3)
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
        (np.array(["a", None], object), nbs.InputValueError, "None at row 1: a missing label"),
        (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), nbs.InputTypeError, "dtype datetime64.*astype.str."),
        (np.array([0.0, 0.5], object), nbs.InputValueError, "0.5 at row 1: continuous"),
        ([0, "a"], nbs.InputTypeError, "several kinds: integers .0 at row 0., text .'a' at row 1"),
        ([True, 2], nbs.InputTypeError, "several kinds: booleans .True at row 0., integers .2 at row 1"),
        ([0.5, "a"], nbs.InputTypeError, "several kinds: floats"),
        (["a", NAN], nbs.InputValueError, "nan at row 1: a missing label"),
        ([[0, 1], [0]], nbs.InputValueError, "rectangular"),
        ([[0, 1], [1, 0]], nbs.InputValueError, "argmax"),
        ([1, 2**64], nbs.InputValueError, "18446744073709551616, which is no 64-bit integer"),
        ([-1, 2**63], nbs.InputValueError, "9223372036854775808, which is no 64-bit integer"),
        (["a", "a\0"], nbs.InputValueError, "NUL"),
        ("ab", nbs.InputTypeError, "y is 'ab', expected an array or a list"),
        (iter([1, 2]), nbs.InputTypeError, "list_iterator, expected an array or a list"),
    ],
)
def test_bad_labels_are_refused(y, error, message):
    with pytest.raises(error, match=message):
        validation.labels(y, n_samples=2)


@given(
    st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
        st.lists(st.integers(0, 2**64 - 1), min_size=1).map(lambda y: np.array(y, np.uint64)),
        st.lists(st.integers(-5, 5), min_size=1),
        st.lists(st.booleans(), min_size=1),
        st.lists(st.integers(-(2**40), 2**40).map(float), min_size=1),
        # Neighbouring floats, also beyond the integers of 64 bits.
        st.tuples(st.sampled_from([2.0**53, 2.0**63, 2.0**64, 1e20]), st.lists(st.integers(-4, 4), min_size=1)).map(
            lambda given: [(-1) ** given[1][0] * given[0] * (1 + k * np.finfo(float).eps) for k in given[1]]
        ),
        st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3), min_size=1),
        st.lists(st.binary(max_size=3).map(lambda b: b.rstrip(b"\0")), min_size=1),
    )
)
def test_codes_and_classes_are_those_of_numpy_whatever_the_labels(y):
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    for given_as in (y, np.asarray(y), np.array(list(y), object)):
        found_codes, found_classes = validation.labels(given_as)
        assert found_codes.dtype == np.int32
        assert found_codes.tolist() == codes.tolist()
        assert found_classes.tolist() == classes.tolist()


def test_labels_beyond_a_block_are_found_by_every_way(monkeypatch):
    monkeypatch.setattr(
        sys.modules["nbsoftmax.validation.labels"], "BLOCK", 4
    )  # the package has a function of this name
    y = np.arange(23) * 7 % 5
    for labels in (y, y * 10**6, y.astype(str), (y * 1.0), y.astype(object), y == 1):
        codes, classes = validation.labels(labels)
        assert np.array_equal(classes[codes].astype(labels.dtype), labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float64, bool])
def test_labels_cost_little_more_than_their_codes(dtype):
    y = (np.arange(2**20) % 2).astype(dtype)
    tracemalloc.start()
    codes, _ = validation.labels(y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * codes.nbytes  # np.unique with the inverse takes 7 to 10 times as much


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.str_("p"), "'p'"),
        (np.int64(5), "5"),
        (np.bool_(True), "True"),
        (np.float32(0.5), "0.5"),
        ("p", "'p'"),
        (np.zeros((3, 2)), "array([[0., 0.], [0., 0.], [0., 0.]])"),
        ("x" * 500, "'" + "x" * 115 + " ..."),
    ],
)
def test_values_are_written_plainly_on_one_line(value, text):
    assert plain(value) == text


def test_an_array_that_masks_nothing_is_its_data():
    assert np.array_equal(nbs.softmax(np.ma.array(Z)), nbs.softmax(Z))


def test_frames_keep_their_feature_names():
    pandas = pytest.importorskip("pandas")
    array, names = validation.frame(pandas.DataFrame({"a": [1.0, 2.0], "b": [3, 4]}))
    assert names == ("a", "b")
    assert array.tolist() == [[1, 3], [2, 4]]
    with pytest.raises(nbs.InputTypeError, match="'b'"):
        validation.frame(pandas.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}))
    assert validation.frame(Z)[0] is Z
    assert validation.frame(Z)[1] is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("b", "a"), "another order.*column 0 is 'b'"),
        (("a",), "lacks 'b'"),
        (("a", "b", "c"), "unknown 'c'"),
    ],
)
def test_features_must_be_the_trained_ones_in_their_order(given, message):
    validation.same_features(("a", "b"), ("a", "b"))
    validation.same_features(None, ("a", "b"))
    with pytest.raises(nbs.InputValueError, match=message):
        validation.same_features(given, ("a", "b"))


def test_only_functions_that_have_ignore_index_advise_it():
    with pytest.raises(nbs.InputValueError, match=r"count classes from 0, or name the value in ignore_index\.$"):
        nbs.cross_entropy(np.zeros((1, 3)), [3])
    with pytest.raises(nbs.InputValueError, match=r"count classes from 0\.$"):
        nbs.Objective(np.zeros((1, 3)), [3], n_classes=3)
