"""The cases with which PyTorch, ONNX, optax, Liger Kernel and ml-cross-entropy test their losses, as tables of our own.

Expected values come from `loops`, from numbers that can be checked by hand, and from the packages themselves if
they are installed.
"""

import itertools

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.functional import loops

REDUCTIONS = ("mean", "sum", "none")
EPS = np.finfo(np.float64).eps


def normal(shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(scale=3, size=shape)


def labels(shape, n_classes, seed=1):
    return np.random.default_rng((seed, *shape)).integers(0, n_classes, shape)


def probabilities(shape, axis):
    rest = [n for i, n in enumerate(shape) if i != axis]
    q = np.random.default_rng(shape).dirichlet(np.ones(shape[axis]), rest)
    return np.ascontiguousarray(np.moveaxis(q, -1, axis))


def near(found, expected, eps=64 * EPS):
    """Equal up to a few eps of the largest loss, with the same shape."""
    assert np.shape(found) == np.shape(expected)
    assert np.abs(found - np.asarray(expected)).max() <= eps * max(1, np.abs(expected).max())


# --- PyTorch: shapes (N, C), (N, C, d1, ...) and (C,); all options ---

TORCH_SHAPES = [
    ((2, 3), 1),
    ((2, 3, 1), 1),
    ((2, 3, 1, 2), 1),
    ((2, 3, 1, 2, 3), 1),
    ((3,), 0),
    ((1, 1), 1),
    ((5, 70, 4), 1),
]
TORCH_OPTIONS = [
    {},
    {"weight": True},
    {"label_smoothing": 0.5},
    {"weight": True, "label_smoothing": 0.1},
    {"ignore": True},
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", TORCH_OPTIONS, ids=lambda o: "-".join(o) or "plain")
@pytest.mark.parametrize(("shape", "axis"), TORCH_SHAPES, ids=str)
def test_samples_of_torch_cross_entropy(shape, axis, options, reduction):
    z, n_classes, rest = normal(shape), shape[axis], shape[:axis] + shape[axis + 1 :]
    weight = np.random.default_rng(2).uniform(0.5, 2, n_classes) if "weight" in options else None
    common = {"label_smoothing": options.get("label_smoothing", 0.0), "reduction": reduction}
    y = labels(rest, n_classes)
    if "ignore" in options and y.size > 1:
        common["ignore_index"] = int((y.flat[0] + 1) % n_classes)
    near(
        nbs.cross_entropy(z, y, axis=axis, class_weight=weight, **common),
        loops.cross_entropy(z, y, axis, weight=weight, **common),
    )
    common.pop("ignore_index", None)
    q = probabilities(shape, axis)
    near(
        nbs.cross_entropy(z, q, axis=axis, class_weight=weight, **common),
        loops.cross_entropy(z, q, axis, weight=weight, **common),
    )


@pytest.mark.parametrize(
    ("shape", "axis"), [((5,), 0), ((5, 5), 0), ((5, 5), 1), ((5, 5), -1), ((5, 10, 5), 2), ((5, 10, 5), 1)], ids=str
)
def test_samples_of_torch_softmax_of_float32_and_integers_in_float64(shape, axis):
    exact = np.apply_along_axis(loops.log_softmax, axis, normal(shape).astype(np.float32).astype(loops.REAL))
    given = normal(shape).astype(np.float32)
    for z, eps in ((given.astype(np.float64), 64 * EPS), (given, 64 * float(np.finfo(np.float32).eps))):
        near(nbs.log_softmax(z, axis), exact, eps)
        near(nbs.softmax(z, axis), np.exp(exact), eps)
    whole = np.rint(given).astype(int)
    near(nbs.softmax(whole, axis), np.exp(np.apply_along_axis(loops.log_softmax, axis, whole.astype(loops.REAL))))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((5,), 0), ((5, 5), (1,)), ((5, 5), (-2,)), ((5, 5), (0, 1)), ((3, 4, 5), (0, 2)), ((2, 0), 0)],
    ids=str,
)
def test_samples_of_torch_logsumexp(shape, axis, keepdims):
    if shape == (2, 0):
        assert nbs.logsumexp(np.empty(shape), axis, keepdims=keepdims).shape == ((1, 0) if keepdims else (0,))
        return
    for z in (normal(shape), np.full(shape, -np.inf), np.full(shape, np.inf)):
        with np.errstate(invalid="ignore"):
            c = z.astype(loops.REAL).max(axis, keepdims=True)
            exact = c + np.log(np.exp(np.where(z == c, 0, z - c)).sum(axis, keepdims=True))
        exact = exact if keepdims else exact.reshape(np.shape(z.sum(axis)))
        found = nbs.logsumexp(z, axis, keepdims=keepdims)
        assert np.shape(found) == np.shape(exact)
        assert np.allclose(found, exact.astype(float), rtol=16 * EPS, atol=0)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(), (5,), (5, 5), (3, 4, 5), (2, 3, 33)], ids=str)
def test_samples_of_torch_binary_cross_entropy_with_logits(shape, reduction):
    z, rng = normal(shape), np.random.default_rng(3)
    forms = {(), (1,), shape, shape[-1:], (*shape[-2:-1], 1)} - ({(1,)} if not shape else set())
    for y in (labels(shape, 2), rng.random(shape)):
        near(nbs.binary_cross_entropy(z, y, reduction=reduction), loops.binary_cross_entropy(z, y, reduction=reduction))
        for form in sorted(forms):
            p = rng.uniform(0, 3, form)
            loss, grad = nbs.binary_cross_entropy_and_grad(z, y, pos_weight=p, reduction=reduction)
            near(loss, loops.binary_cross_entropy(z, y, p, reduction))
            a = 1 / (1 + np.exp(-z))
            divisor = z.size if reduction == "mean" else 1
            near(grad, ((1 - y) * a - p * y * (1 - a)) / divisor)


def test_a_weight_of_positive_labels_counts_in_the_loss_and_not_in_the_mean():
    # a label of weight 3 costs 3 log 2, and the mean is over two labels
    assert nbs.binary_cross_entropy([0.0, 0.0], [1, 0], pos_weight=3) == pytest.approx(2 * np.log(2), rel=4 * EPS)
    # with ignored labels, other weights and smoothing, for columns of different weights
    z, y = normal((40, 3)), labels((40, 3), 2)
    y[::7, 1] = -1
    p, s, e = np.array([0.0, 1.0, 5.0]), np.random.default_rng(0).uniform(0.5, 2, (40, 3)), 0.2
    q = (1 - e) * y + e / 2
    losses = s * np.where(y < 0, 0, p * q * np.logaddexp(0, -z) + (1 - q) * np.logaddexp(0, z))
    found = nbs.binary_cross_entropy(z, y, pos_weight=p, sample_weight=s, label_smoothing=e, ignore_index=-1)
    assert found == pytest.approx(losses.sum() / s[y >= 0].sum(), rel=64 * EPS)


@pytest.mark.parametrize(
    ("shape", "p"), [((0, 3), [1, 2, 3]), ((3, 0), []), ((3, 0), 2.0), ((2, 0, 3), np.ones((1, 1, 3)))]
)
def test_no_labels_with_weights_give_no_loss(shape, p):
    z = np.empty(shape)
    losses, grad = nbs.binary_cross_entropy_and_grad(z, z, pos_weight=p, reduction="none")
    assert losses.shape == grad.shape == shape
    assert nbs.binary_cross_entropy(z, z, pos_weight=p, reduction="sum") == 0


@pytest.mark.parametrize("p", [1e-300, 1e-40, 1e40, 1e300])
def test_weights_of_positive_labels_of_any_size_count_in_float32(p):
    z = np.array([0.5, -0.5, 3.0], np.float32)
    loss, grad = nbs.binary_cross_entropy_and_grad(z, [1, 0, 0], pos_weight=p, reduction="sum")
    expected = p * np.logaddexp(0, -0.5) + np.logaddexp(0, -0.5) + np.logaddexp(0, 3.0)
    assert loss == pytest.approx(expected, rel=1e-6)
    with np.errstate(over="ignore"):
        assert np.allclose(grad[0], np.float32(-p / (1 + np.exp(0.5))), rtol=1e-6)


@pytest.mark.parametrize(
    ("p", "error", "message"),
    [
        ([1.0, 2.0], nbs.InputValueError, r"pos_weight has shape \(2,\), which cannot be broadcast to \(4, 3\)"),
        (np.ones((2, 4, 3)), nbs.InputValueError, r"pos_weight has shape \(2, 4, 3\)"),
        ([1.0, -1.0, 1.0], nbs.InputValueError, "negative number"),
        ([1.0, np.nan, 1.0], nbs.InputValueError, "NaN"),
        (np.inf, nbs.InputValueError, "inf"),
        ("balanced", nbs.InputTypeError, "pos_weight"),
        (1j, nbs.InputTypeError, "complex"),
    ],
)
def test_bad_weights_of_positive_labels_are_refused(p, error, message):
    with pytest.raises(error, match=message):
        nbs.binary_cross_entropy(np.zeros((4, 3)), np.zeros((4, 3), int), pos_weight=p)


# --- ONNX: SoftmaxCrossEntropyLoss with classes on axis 1; the numbers are from its reference implementation ---

ONNX_SHAPES = [(3, 5), (3, 5, 2), (3, 5, 2, 7), (3, 5, 6, 6, 5), (3, 5, 2, 1, 4, 3, 2)]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("weighted", "ignored"), [*itertools.product([False, True], [None, -5, 0, 10, 2])])
@pytest.mark.parametrize("shape", ONNX_SHAPES, ids=str)
def test_cases_of_the_softmax_cross_entropy_loss_of_onnx(shape, weighted, ignored, reduction):
    onnx = pytest.importorskip("onnx")
    z, y = normal(shape).astype(np.float32), labels((shape[0], *shape[2:]), shape[1])
    if ignored is not None:
        y.flat[0] = ignored
    weight = np.array([0.9, 0.7, 0.8, 0.9, 0.9], np.float32) if weighted else None
    names = ["z", "y", "weight"][: 3 if weighted else 2]
    options = {} if ignored is None else {"ignore_index": ignored}
    node = onnx.helper.make_node("SoftmaxCrossEntropyLoss", names, ["loss"], reduction=reduction, **options)
    types = dict(zip(names, [onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.FLOAT], strict=False))
    graph = onnx.helper.make_graph(
        [node],
        "loss",
        [onnx.helper.make_tensor_value_info(name, types[name], None) for name in names],
        [onnx.helper.make_tensor_value_info("loss", onnx.TensorProto.FLOAT, None)],
    )
    feeds = {"z": z, "y": y} | ({"weight": weight} if weighted else {})
    expected = (
        pytest.importorskip("onnx.reference").ReferenceEvaluator(onnx.helper.make_model(graph)).run(None, feeds)[0]
    )
    found = nbs.cross_entropy(z, y, axis=1, class_weight=weight, ignore_index=ignored, reduction=reduction)
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-5)
    exact = loops.cross_entropy(z, y, 1, weight=weight, ignore_index=ignored, reduction=reduction)
    near(found, exact.astype(float), 64 * float(np.finfo(np.float32).eps))


# --- optax ---

OPTAX_Z = [[10.0, 1.0, -2.0], [1.0, 4.0, 0.2]]


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_optax_softmax_cross_entropy_along_any_axis(axis):
    # -log softmax of the second and of the first class: the other logits are larger by 9, and smaller by 3 or more
    expected = [9 + np.log1p(np.exp(-9) + np.exp(-12)), 3 + np.log1p(np.exp(-3) + np.exp(-3.8))]
    z, q = np.array([OPTAX_Z, OPTAX_Z]), np.array([[[0.0, 1, 0], [1, 0, 0]]] * 2)
    z, q = np.moveaxis(z, -1, axis), np.moveaxis(q, -1, axis)
    for y in (q, np.array([[1, 0], [1, 0]])):
        found = nbs.cross_entropy(z, y, axis=axis, reduction="none")
        assert np.abs(found - expected).max() <= 8 * EPS * 9


@pytest.mark.parametrize(
    ("z", "y", "expected"),
    [
        ([-1e9, -1e-9], [1.0, 0.0], 5e8),
        ([-1e9, -1e-9], [0.0, 1.0], 0.34657359),
        ([1e9, 1e-9], [1.0, 0.0], 0.34657359),
        ([1e9, 1e-9], [0.0, 1.0], 5e8),
        ([-1e9, 1e-9], [1.0, 0.0], 5e8),
        ([1e9, -1e-9], [0.0, 1.0], 5e8),
        ([1e9, -1e9], [0.25, 0.25], 5e8),
    ],
)
def test_optax_sigmoid_binary_cross_entropy_of_extreme_logits(z, y, expected):
    assert nbs.binary_cross_entropy(z, y) == pytest.approx(expected, rel=1e-8)


# --- Liger Kernel, ml-cross-entropy: losses of language models, (n_sequences, n_tokens, n_words) ---


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("reduction", "ignore_index"), [*itertools.product(["mean", "sum"], [-100, 2, 0, -1])])
@pytest.mark.parametrize(("shape", "scale"), [((2, 13, 320), 1.0), ((3, 9, 423), 10.0), ((1, 41, 41), 0.1)], ids=str)
def test_losses_of_language_models_with_labels_shifted_by_one_token(shape, scale, reduction, ignore_index, dtype):
    z = (scale * normal(shape)).astype(dtype)
    y = labels(shape[:2], shape[2])
    y[np.random.default_rng(4).random(y.shape) < 0.4] = ignore_index
    y[:, 1] = 3
    before, after = z[:, :-1], y[:, 1:]  # views; a token's logits predict the next token
    for options in ({}, {"label_smoothing": 0.1}):
        common = {"ignore_index": ignore_index, "reduction": reduction, **options}
        loss, grad = nbs.cross_entropy_and_grad(before, after, **common)
        exact = float(loops.cross_entropy(before, after, -1, **common))
        assert abs(loss - exact) <= 64 * np.finfo(dtype).eps * abs(exact)
        assert grad.shape == before.shape
        assert not grad[after == ignore_index].any()
        flat = nbs.cross_entropy_and_grad(before.reshape(-1, shape[2]), after.reshape(-1), **common)
        assert loss == flat[0]
        assert np.array_equal(grad.reshape(-1, shape[2]), flat[1])


# --- PyTorch itself ---


@pytest.mark.parametrize(("shape", "axis"), [*TORCH_SHAPES, ((2, 5, 40), 1), ((0, 5, 6), 1)], ids=str)
def test_losses_and_gradients_are_those_of_torch(shape, axis):
    torch = pytest.importorskip("torch")
    z, rest, n_classes = normal(shape), shape[:axis] + shape[axis + 1 :], shape[axis]
    y = labels(rest, n_classes)
    ignored = np.where(np.random.default_rng(5).random(rest) < 0.3, -100, y)
    ignored.flat[:1] = 0
    weight = np.random.default_rng(6).uniform(0.5, 2, n_classes)
    for target, w, e, reduction in itertools.product(
        (y, ignored, probabilities(shape, axis)), (None, weight), (0, 0.3), REDUCTIONS
    ):
        if not z.size and reduction == "mean":
            continue  # NaN in PyTorch, an error here
        common = {"label_smoothing": e, "reduction": reduction}
        if target is ignored:
            common["ignore_index"] = -100
        loss, grad = nbs.cross_entropy_and_grad(z, target, axis=axis, class_weight=w, **common)
        tensor = torch.tensor(z, requires_grad=True)
        theirs = torch.nn.functional.cross_entropy(
            tensor, torch.tensor(target), weight=None if w is None else torch.tensor(w), **common
        )
        theirs.sum().backward()
        assert np.shape(loss) == tuple(theirs.shape)
        assert np.allclose(loss, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
        assert np.allclose(grad, tensor.grad.numpy(), rtol=1e-12, atol=1e-12)
