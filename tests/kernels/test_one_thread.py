"""The limit of BLAS to one thread: it holds in whichever Python thread sets it, and ends for all."""

import threading

import numpy as np
import pytest
import threadpoolctl

import nbsoftmax as nbs
from nbsoftmax.kernels.runtime.blas import one_thread


def in_a_thread(function):
    """The result of a function that another thread calls."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def numbers():
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    return [n for n in (library.get_num_threads() for library in libraries) if n is not None]


def limited():
    with one_thread():
        return numbers()


@pytest.fixture(autouse=True)
def two_threads():
    """BLAS with two threads, if it can have them."""
    with one_thread():  # the libraries are loaded
        pass
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        yield


def test_the_limit_holds_in_every_thread_whichever_was_the_first():
    for call in (lambda f: f(), in_a_thread, in_a_thread, lambda f: f()):
        before = numbers()
        assert set(call(limited)) == {1}
        assert numbers() == before


def test_other_code_can_set_numbers_of_threads_afterwards():
    assert set(in_a_thread(limited)) == {1}

    def set_to_one():
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            return numbers()

    assert set(in_a_thread(set_to_one)) == {1}


def test_a_fit_has_the_same_bits_in_the_main_thread_and_in_another_one():
    rng = np.random.default_rng(0)
    X, W = rng.normal(size=(4000, 33)), rng.normal(size=(33, 65)) / 4
    y = np.argmax(X @ W + rng.gumbel(size=(4000, 65)), axis=1)

    def coef():
        return nbs.Trainer(l2=1e-3, tol=1e-7).fit(X, y).model.coef

    assert coef().tobytes() == in_a_thread(coef).tobytes()
