"""Which parts move to which workers, and how sums are added."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbsoftmax.backends.cluster.client import described
from nbsoftmax.backends.cluster.moves import moves
from nbsoftmax.backends.cluster.tree import added_by_tree, call_size, result_size, writeable
from nbsoftmax.backends.sum import Call


def loads(at, sizes, threads):
    return {w: sum(n for a, n in zip(at, sizes, strict=True) if a == w) / threads[w] for w in threads}


@given(
    parts=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1000)), min_size=1, max_size=30),
    threads=st.fixed_dictionaries({w: st.integers(1, 4) for w in "abc"}),
)
def test_moves_lower_the_highest_load_until_no_move_does(parts, threads):
    at, sizes = [w for w, _ in parts], [n for _, n in parts]
    found = moves(at, sizes, threads)
    after = [found.get(i, w) for i, w in enumerate(at)]
    assert all(at[i] != w for i, w in found.items())
    before, now = loads(at, sizes, threads), loads(after, sizes, threads)
    assert max(now.values()) <= max(before.values())


def test_equal_loads_stay_and_an_empty_worker_gets_its_share():
    assert moves(["a", "b"], [10, 10], {"a": 1, "b": 1}) == {}
    found = moves(["a"] * 4, [10] * 4, {"a": 1, "b": 1})
    assert sorted(found.values()) == ["b", "b"]
    assert len(moves(["a"] * 4, [10] * 4, {"a": 1, "b": 3})) == 3
    assert moves(["a", "a"], [0, 5], {"a": 1, "b": 1}) == {}  # the one with rows may stay where it is


def test_messages_name_a_partition_only_if_the_task_has_one():
    assert described(("nbsoftmax-sum-12ab", 3)).startswith("partition 3")
    assert described(("nbsoftmax-added-12ab", 3)).startswith("the task ")
    assert described(("read-parquet-12ab", 3)).startswith("the task ")
    assert described("read-parquet-12ab") == "the task 'read-parquet-12ab', which a partition needs,"


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 64, 100])
def test_groups_of_a_power_of_two_form_the_same_tree(n):
    results = list(np.random.default_rng(n).normal(size=(n, 3)))
    whole = added_by_tree(list(results))
    for size in (2, 8):
        level = list(results)
        while len(level) > 1:
            level = [added_by_tree(level[i : i + size]) for i in range(0, len(level), size)]
        assert level[0].tobytes() == whole.tobytes()
    np.testing.assert_allclose(whole, np.sum(results, axis=0), rtol=1e-12, atol=1e-12)


def test_results_are_not_changed_and_the_sum_is_the_callers_own():
    a, b = np.ones(2), np.full(2, 2.0)
    a.flags.writeable = False
    loss, grad = writeable(added_by_tree([(1.0, a), (2.0, b)]))
    assert loss == 3.0
    np.testing.assert_array_equal(grad, 3.0)
    np.testing.assert_array_equal((a, b), [[1, 1], [2, 2]])
    assert writeable((1.0, a))[1].flags.writeable


def test_sizes_of_calls_and_results_follow_from_the_shape():
    params = np.zeros((3, 6))
    assert call_size(Call().then("hess_vec", params, params)) == 36
    sizes = {"loss": 1, "loss_and_grad": 18, "hess_vec": 18, "gram": 36, "class_grams": 108, "hessian": 324}
    for method, size in sizes.items():
        assert result_size(Call().then(method, params), (3, 6)) == size
    first = Call().then("with_features", np.array([0, 4]))
    assert result_size(first.then("gram", params), (3, 6)) == 9
