"""What NumPy cannot read, or would read wrongly, is refused with advice."""

import pathlib

import numpy as np
import pytest
import scipy.sparse

import nbsoftmax as nbs
from tests.validation.refusals import refused

Z, Y = np.zeros((4, 3)), [0, 1, 2, 0]
MODEL = nbs.SoftmaxModel(np.eye(3), np.zeros(3), [0, 1, 2])


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


BAD_VALUES = {
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
}

BAD_TYPES = {
    "sparse logits": (
        lambda: nbs.softmax(scipy.sparse.csr_matrix(Z)),
        r"logits is a sparse csr_m.*logits\.toarray\(\)",
    ),
    "sparse probabilities": (lambda: nbs.brier_score(Y, scipy.sparse.csr_array(Z)), r"proba\.toarray\(\)"),
    "sparse z": (lambda: nbs.sigmoid(scipy.sparse.csr_array(Z)), r"z\.toarray\(\)"),
    "sparse X of a textbook gradient": (
        lambda: nbs.softmax_gradient(scipy.sparse.coo_array(Z), Y, np.zeros((3, 3)), np.zeros(3)),
        r"X is a sparse coo_array, expected a dense array; give X\.toarray\(\) if it fits in memory\.",
    ),
    "sparse weights": (
        lambda: nbs.cross_entropy(Z, Y, sample_weight=scipy.sparse.csr_array([Y])),
        r"sample_weight\.toarray\(\)",
    ),
    "sparse offset": (
        lambda: nbs.Objective(Z, Y, offset=scipy.sparse.csr_array((4, 3))),
        r"offset is a sparse.*offset\.toarray\(\)",
    ),
    "sparse targets": (lambda: nbs.cross_entropy(Z, scipy.sparse.csr_array(np.eye(4, 3))), r"y\.toarray\(\)"),
    "sparse labels": (lambda: MODEL.score(Z, scipy.sparse.csr_array([Y]).T), r"y\.toarray\(\)"),
    "pydata's sparse": (
        lambda: nbs.Objective(PydataSparse(), Y),
        r"sparse PydataSparse.*X\.todense\(\).*or a sparse array of SciPy",
    ),
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
    "no array": (lambda: nbs.softmax({1.0, 2.0}), "logits is a set, expected an array"),
    "no X": (lambda: MODEL.predict(None), "X is None, expected an array"),
}


@refused(BAD_VALUES, BAD_TYPES)
def test_what_numpy_cannot_read_raises_an_error_with_advice(error, call, message):
    with pytest.raises(error, match=message):
        call()


def test_a_masked_array_without_masked_values_is_accepted():
    assert np.array_equal(nbs.softmax(np.ma.array(Z)), nbs.softmax(Z))


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("name", ["offset", "y"])
def test_a_table_with_a_column_of_text_is_called_by_its_own_name(library, name):
    made = pytest.importorskip(library)
    make = made.table if library == "pyarrow" else made.DataFrame
    given = {"y": [0, 1], name: make({"0": [0.5, 0.5], "1": ["a", "b"]})}
    with pytest.raises(nbs.InputTypeError, match=f"^{name} has dtype .* in column '1', expected numbers"):
        nbs.Trainer().fit(np.eye(2), **given)


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda: nbs.Trainer().fit("y ~ x", Z), r"nbs.fit_formula\(formula, table\)"),
        (lambda: nbs.cross_validate("y ~ x", Z), r"nbs.fit_formula\(formula, table\)"),
        (lambda: nbs.Trainer().fit("rows.csv", "y"), "nbs.data.open"),
        (lambda: MODEL.predict(pathlib.Path("rows.csv")), "nbs.data.open"),
        (lambda: nbs.Trainer().fit(Z, Y, sample_weight="w"), r"column of a table is table\['w'\]"),
        (lambda: nbs.fit_formula(Z, "y ~ x"), "wrong order"),
    ],
)
def test_formulas_and_names_in_the_place_of_values_are_answered_with_what_to_call(call, advice):
    with pytest.raises(nbs.InputTypeError, match=advice):
        call()
