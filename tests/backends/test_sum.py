"""A sum of backends: what its parts sum to, in their order, whenever they are made."""

import gc
import threading
import weakref

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import validation
from nbsoftmax.backends import sum as sums
from nbsoftmax.backends.base import Backend, Margins, Refinable, SelectsFeatures, Stochastic
from nbsoftmax.backends.dense import DenseBackend
from nbsoftmax.backends.sum import HeldParts, MadeParts, SumBackend
from nbsoftmax.backends.targets import part_of
from nbsoftmax.errors import InputValueError
from nbsoftmax.solvers.tools import separation

N_FEATURES, N_CLASSES = 3, 4
SHAPE = N_CLASSES, N_FEATURES + 1
# Every sum of the protocol, as a function of a backend, parameters w and a direction v.
SUMS = {
    "loss": lambda backend, w, v: (backend.loss(w),),
    "loss_and_grad": lambda backend, w, v: backend.loss_and_grad(w),
    "hess_vec": lambda backend, w, v: (backend.hess_vec(w, v),),
    "gram": lambda backend, w, v: (backend.gram(), backend.gram(w)),
    "curvatures": lambda backend, w, v: (backend.curvatures(w),),
    "class_grams": lambda backend, w, v: (backend.class_grams(w),),
    "hessian": lambda backend, w, v: (backend.hessian(w),),
}
KINDS = {"held": HeldParts, "made": lambda parts: MadeParts(lambda: iter(parts))}


def problem(m=60, seed=0):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(m, N_FEATURES)), rng.integers(0, N_CLASSES, m)
    target = validation.weighted_targets(
        y, m, N_CLASSES, X.dtype, sample_weight=rng.uniform(0.5, 2, m), class_weight=None, label_smoothing=0.1
    )
    return X, target, rng.normal(size=SHAPE), rng.normal(size=SHAPE)


def dense(X, target):
    return DenseBackend(X, target, offset=np.empty((0, 0)), fit_intercept=True, n_threads=1)


def sum_of(parts, kind):
    return SumBackend(
        KINDS[kind](parts), n_samples=60, n_features=N_FEATURES, n_classes=N_CLASSES, weight_sum=parts[0].weight_sum
    )


class Constant:
    """A part whose sums are one number everywhere."""

    weight_sum = 1.0

    def __init__(self, number):
        self.number = number

    def loss(self, w):
        return self.number

    def loss_and_grad(self, w):
        return self.number, np.full(SHAPE, self.number)

    def hess_vec(self, w, v):
        return np.full(SHAPE, self.number)

    def gram(self, w=None):
        return np.full((N_FEATURES + 1, N_FEATURES + 1), self.number)

    def curvatures(self, w):
        return np.full(SHAPE, self.number)

    def class_grams(self, w):
        return np.full((N_CLASSES, N_FEATURES + 1, N_FEATURES + 1), self.number)

    def hessian(self, w):
        return np.full((*SHAPE, *SHAPE), self.number)


def values(backend, name):
    """The different numbers in a backend's answers."""
    w = np.zeros(SHAPE)
    return sorted({number for answer in SUMS[name](backend, w, w) for number in np.ravel(answer).tolist()})


def test_the_tests_below_cover_every_sum_of_the_protocol():
    methods = {name for name, value in vars(Backend).items() if callable(value) and not name.startswith("_")}
    assert methods == set(SUMS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SUMS)
def test_a_sum_of_one_part_has_the_bits_of_that_part(name, kind):
    X, target, w, v = problem()
    one = dense(X, target)
    for found, expected in zip(SUMS[name](sum_of([one], kind), w, v), SUMS[name](dense(X, target), w, v), strict=True):
        assert np.asarray(found).tobytes() == np.asarray(expected).tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SUMS)
def test_parts_of_the_rows_sum_to_the_whole(name, kind):
    X, target, w, v = problem()
    cuts = [slice(0, 7), slice(7, 40), slice(40, 60)]
    parts = [dense(X[cut], part_of(target, cut)) for cut in cuts]
    for found, expected in zip(SUMS[name](sum_of(parts, kind), w, v), SUMS[name](dense(X, target), w, v), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SUMS)
def test_the_order_of_the_parts_is_that_of_the_additions(name, kind):
    numbers = [1.0, 2.0**60, -(2.0**60), 0.5]  # from the left 0.5, from the right 1.0, exactly added 1.5
    assert values(sum_of([Constant(number) for number in numbers], kind), name) == [0.5]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SUMS)
def test_parts_in_another_order_are_noticed(name, kind, monkeypatch):
    """A planted fault: what the test above would see if a sum added its last part first."""
    monkeypatch.setattr(sums, "added", lambda results, in_order=sums.added: in_order(list(results)[::-1]))
    numbers = [1.0, 2.0**60, -(2.0**60), 0.5]
    assert values(sum_of([Constant(number) for number in numbers], kind), name) == [1.0]


def test_the_loss_is_the_same_number_with_and_without_the_gradient():
    numbers = np.random.default_rng(0).normal(size=50) * 10.0 ** np.arange(50)
    both = sum_of([Constant(number) for number in numbers.tolist()], "made")
    assert both.loss(None) == both.loss_and_grad(None)[0]


def test_held_parts_work_at_the_same_time_and_the_slowest_is_still_added_first():
    last_is_done = threading.Event()

    class First(Constant):
        def loss(self, w):
            assert last_is_done.wait(timeout=60)  # never set if parts were asked one after another
            return self.number

    class Last(Constant):
        def loss(self, w):
            last_is_done.set()
            return self.number

    parts = [First(1.0), Constant(2.0**60), Constant(-(2.0**60)), Last(0.5)]
    assert sum_of(parts, "held").loss(None) == 0.5


def test_the_first_error_of_held_parts_is_raised():
    class Broken(Constant):
        def loss(self, w):
            raise MemoryError(f"part {self.number}")

    with pytest.raises(MemoryError, match="part 2"):
        sum_of([Constant(1), Broken(2), Broken(3)], "held").loss(None)


@pytest.mark.parametrize("name", SUMS)
def test_of_parts_that_are_made_only_one_exists_at_a_time(name):
    alive, most = weakref.WeakSet(), []

    def make():
        for number in (1.0, 2.0, 3.0):
            gc.collect()
            most.append(len(alive))
            yield made(number)

    def made(number):
        part = Constant(number)
        alive.add(part)
        return part

    both = SumBackend(MadeParts(make), n_samples=3, n_features=N_FEATURES, n_classes=N_CLASSES, weight_sum=1.0)
    assert values(both, name) == [6.0]
    assert set(most) == {0}


def test_a_backend_has_only_the_methods_that_it_can_serve():
    X, target, *_ = problem()
    one = dense(X, target)
    assert all(isinstance(one, able) for able in (Margins, Refinable, SelectsFeatures, Stochastic))
    assert not any(
        isinstance(sum_of([one], "held"), able) for able in (Margins, Refinable, SelectsFeatures, Stochastic)
    )
    single = DenseBackend(X.astype(np.float32), target, offset=np.empty((0, 0)), fit_intercept=True, n_threads=1)
    assert not isinstance(single.in_float64(), (Stochastic, Refinable))


def test_an_objective_says_what_its_backend_cannot_do():
    X, y = problem()[0], np.arange(60) % N_CLASSES
    J = nbs.Objective(X, y)
    J.backend = sum_of([J.backend], "held")
    w = np.zeros(J.shape)
    with pytest.raises(InputValueError, match="solver 'sgd' runs on the CPU"):
        J.descend(None, np.arange(60), 10, np.ones(6), kind=0, momentum=0.0, n_before=0)
    with pytest.raises(InputValueError, match="margins of single samples need X in memory"):
        J.margins(w, slice(0, 3))
    with pytest.raises(InputValueError, match="some of the features need X in memory"):
        J.smooth_part(np.array([0]))
    assert separation.separated(J, w, w).size == 0  # nothing is claimed that margins would have to show
    assert J.in_float64() is J
    assert J.value(w) == nbs.Objective(X, y).value(w)
