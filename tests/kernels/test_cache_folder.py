"""Which folder holds compiled code, and under which settings of Numba."""

import importlib.util
import os

import numba
import pytest
from numba.core import config

from nbsoftmax.kernels.runtime import cache
from tests.kernels.small_kernel import entry, loaded, process, twice


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    """The folder that is chosen below one that the user names; nothing is remembered of it afterwards."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))

    def forget():
        cache._folder_of_numba.cache_clear()
        cache.cache_folder.cache_clear()

    def choose():
        forget()
        return cache.cache_folder()

    yield choose
    forget()


def test_the_folder_is_below_the_one_that_the_user_names(chosen, tmp_path):
    assert tmp_path in chosen().parents


@pytest.mark.parametrize("what", ["cache.__version__", "numba.__version__", "llvmlite.__version__", "np.__version__"])
def test_each_version_has_a_folder_of_its_own(chosen, monkeypatch, what):
    before = chosen()
    monkeypatch.setattr(f"nbsoftmax.kernels.runtime.cache.{what.removeprefix('cache.')}", "0.0")
    other = chosen()
    assert other.parent == before.parent
    assert other != before


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_folder_that_everybody_may_write_is_not_used(chosen, tmp_path):
    parent = chosen().parent
    parent.chmod(0o777)
    assert chosen() is None
    assert not loaded(process())
    parent.chmod(0o755)
    assert chosen() is not None


def test_the_modes_of_windows_which_everybody_may_write_are_no_reason(chosen, monkeypatch):
    monkeypatch.setattr(cache, "_HAS_MODES", False)
    chosen().parent.chmod(0o777)
    assert chosen() is not None


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_entries_can_be_written_by_their_owner_alone_whatever_the_umask(folder):
    before = os.umask(0)
    try:
        process()(21)
    finally:
        os.umask(before)
    assert not entry(folder).stat().st_mode & 0o022
    assert not folder.stat().st_mode & 0o022


@pytest.mark.parametrize("name", ["caching.CompileResultCacheImpl", "caching.NullCache", "runtime.rtsys"])
def test_a_numba_without_the_names_that_are_needed_compiles_in_memory(monkeypatch, name):
    monkeypatch.delattr(f"numba.core.{name}")
    spec = importlib.util.spec_from_file_location("cache_of_another_numba", cache.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert not module.SUPPORTED
    kernel = module.on_disk(numba.njit(twice))
    assert kernel(21) == 42
    assert not kernel.stats.cache_hits
    assert module.cache_folder() is None  # the message of a compilation, show_versions and warmup ask for it


def test_a_numba_whose_cache_has_other_attributes_compiles_in_memory(chosen, monkeypatch):
    monkeypatch.setattr(cache, "CompileResultCacheImpl", lambda function: object())
    assert chosen() is None


def test_a_dispatcher_without_the_attribute_that_is_set_is_left_alone():
    class Dispatcher:
        __slots__ = ()

    assert isinstance(cache.on_disk(Dispatcher()), Dispatcher)


def test_this_numba_is_supported():
    assert cache.SUPPORTED
    assert isinstance(numba.njit(twice)._cache, cache.NullCache)
