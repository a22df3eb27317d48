"""Compiled code on disk: found under everything that it was made of, never a reason to fail, never another version's.

Most tests call a tiny kernel of their own; a new dispatcher of the same function stands for a new process.
"""

import ast
import errno
import os
import shutil
import time
from pathlib import Path

import numba
import pytest
from numba.core import config
from numba.core.registry import cpu_target

from nbsoftmax.kernels import sources
from nbsoftmax.kernels.lang import simd
from nbsoftmax.kernels.runtime import cache
from tests.kernels.small_kernel import entry, loaded, process, twice

KERNELS = Path(sources.__file__).parent


def test_the_second_process_compiles_nothing_and_adds_nothing(folder):
    assert not loaded(process())
    first = entry(folder).read_bytes()
    assert loaded(process())
    assert entry(folder).read_bytes() == first


def test_functions_that_the_hash_does_not_cover_are_not_kept(folder, monkeypatch):
    factor = 2

    def closure(x):
        return factor * x

    closure.__module__ = cache.__name__
    assert cache.on_disk(numba.njit(closure))(21) == 42
    monkeypatch.setattr(twice, "__module__", "nbsoftmax_of_somebody")
    assert process()(21) == 42
    assert not folder.exists()


def test_functions_of_one_name_are_told_apart(folder, monkeypatch):
    def thrice(x):
        return 3 * x

    thrice.__module__, thrice.__name__, thrice.__qualname__ = cache.__name__, "twice", "twice"
    assert process()(21) == 42
    assert cache.on_disk(numba.njit(thrice))(21) == 63
    assert process()(21) == 42
    assert len(list(folder.iterdir())) == 2


def test_other_types_are_another_entry(folder):
    kernel = process()
    kernel(21)
    kernel(2.5)
    assert len(list(folder.iterdir())) == 2
    kernel = process()
    assert (kernel(21), kernel(2.5)) == (42, 5.0)
    assert sum(kernel.stats.cache_hits.values()) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:10],
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: bytes(len(content)),
        lambda content: os.urandom(len(content)),
        lambda content: content[:50] + bytes([content[50] ^ 1]) + content[51:],
        lambda content: content + b"more",
        lambda content: cache.hashlib.sha256(b"no pickle").digest() + b"no pickle",
        lambda content: cache.hashlib.sha256(b"").digest(),
    ],
    ids=["empty", "10 bytes", "a byte short", "half", "zeros", "random", "a bit", "longer", "no pickle", "no content"],
)
def test_a_damaged_entry_is_compiled_again_and_replaced(folder, damage):
    process()(21)
    path = entry(folder)
    path.write_bytes(damage(path.read_bytes()))
    assert not loaded(process())
    assert loaded(process())


def test_an_entry_of_other_types_is_not_used(folder):
    process()(21)
    whole = entry(folder)
    process()(2.5)
    (real,) = (path for path in folder.iterdir() if path != whole)
    shutil.copy(whole, real)
    assert process()(2.5) == 5.0


def failing(error):
    def fail(*args, **kwargs):
        raise OSError(error, os.strerror(error))

    return fail


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("operation", ["pathlib.Path.mkdir", "os.open", "os.replace"])
def test_a_folder_that_cannot_be_written_is_no_error(folder, monkeypatch, operation, error):
    with monkeypatch.context() as failure:
        failure.setattr(operation, failing(error))
        assert not loaded(process())
    assert not folder.exists() or not list(folder.iterdir())  # nothing half written stays
    assert not loaded(process())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_a_disk_that_is_full_in_the_middle_of_an_entry_is_no_error(folder, monkeypatch):
    real = os.open
    with monkeypatch.context() as failure:
        failure.setattr(os, "open", lambda name, flags, mode=0o777: real("/dev/full", os.O_WRONLY))
        assert not loaded(process())
    assert not list(folder.iterdir())


def test_an_entry_that_cannot_be_read_is_no_error(folder, monkeypatch):
    process()(21)
    monkeypatch.setattr("pathlib.Path.read_bytes", failing(errno.EACCES))
    assert not loaded(process())


@pytest.mark.parametrize(
    ("name", "value"),
    [("BOUNDSCHECK", 1), ("OPT", type(config.OPT)(1)), ("LOOP_VECTORIZE", 0), ("DEBUGINFO_DEFAULT", 1)],
)
def test_a_setting_that_changes_machine_code_is_in_the_key(folder, monkeypatch, name, value):
    process()(21)
    with monkeypatch.context() as changed:
        changed.setattr(config, name, value)
        path = process()._cache._path((numba.int64,), cpu_target.target_context.codegen())
        assert not path.exists()
    path = process()._cache._path((numba.int64,), cpu_target.target_context.codegen())
    assert path == entry(folder)


def test_the_processor_is_in_the_key(folder, monkeypatch):
    process()(21)
    codegen = cpu_target.target_context.codegen()
    for name, value in {"CPU_NAME": "znver3", "CPU_FEATURES": "+avx,+fma"}.items():
        with monkeypatch.context() as changed:
            changed.setattr(config, name, value)
            magic = (type(codegen)("another").magic_tuple(),)
            changed.setattr(type(codegen), "magic_tuple", lambda self, magic=magic: magic)
            assert not process()._cache._path((numba.int64,), codegen).exists()
    monkeypatch.setattr(simd, "VECTOR_BYTES", 2 * simd.VECTOR_BYTES)
    assert not process()._cache._path((numba.int64,), codegen).exists()


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Hashes of copies of the kernels' sources, each edited in another way."""
    copy = tmp_path / "kernels"
    shutil.copytree(KERNELS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "__file__", str(copy / "sources.py"))

    def digest():
        monkeypatch.setattr(sources, "_AT_IMPORT", sources._state())
        return sources.digest.__wrapped__()

    return copy, digest


def test_every_byte_of_every_source_is_in_the_key(edited):
    copy, digest = edited
    before = digest()
    assert before == sources.digest()
    for path in copy.glob("*.py"):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"#")  # of the same length
        assert digest() != before, path.name
        path.write_bytes(content)
    (copy / "deeper").mkdir()
    (copy / "deeper" / "new.py").write_bytes(b"")
    with_another = digest()
    assert with_another != before
    (copy / "deeper" / "new.py").rename(copy / "deeper" / "named.py")
    assert digest() != with_another


def test_sources_that_were_replaced_after_their_import_leave_no_entry(folder, edited):
    copy, digest = edited
    assert digest() is not None
    (copy / "vmath.py").write_bytes(b"of the next version")
    assert sources.digest.__wrapped__() is None  # what is on disk is not what runs
    process()(21)
    assert not folder.exists()


def test_kernels_use_nothing_of_the_package_that_the_hash_does_not_cover():
    # Errors and the version are used by Python, not by compiled code.
    allowed = {("cache", "nbsoftmax")}
    for path in KERNELS.rglob("*.py"):
        if path.parent.name == "cuda":  # not kept on disk, and not in the hash
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not isinstance(node, ast.ImportFrom) or node.level == 0
            for name in names:
                assert not name.startswith("nbsoftmax.kernels.cuda")
                if name.partition(".")[0] == "nbsoftmax" and not name.startswith("nbsoftmax.kernels"):
                    assert name == "nbsoftmax.errors" or (path.stem, name) in allowed


def test_entries_of_other_states_go_except_the_last_used(folder):
    now = time.time()
    others = [folder.with_name(f"nbsoftmax-{i}") for i in range(6)]
    for i, other in enumerate(others):
        other.mkdir()
        (other / "kernel.nbc").write_bytes(b"code")
        os.utime(other, (now - 60 * i, now - 60 * i))
    stranger = folder.with_name("something-else")
    stranger.mkdir()
    process()(21)
    kept = {folder, stranger, *others[: cache.KEPT - 1]}
    assert set(folder.parent.iterdir()) == kept


def test_what_killed_writers_have_left_is_removed(folder):
    folder.mkdir()
    old, young = folder / "old.tmp", folder / "young.tmp"
    old.write_bytes(b"")
    young.write_bytes(b"")
    before = time.time() - cache.ABANDONED_AFTER - 60
    os.utime(old, (before, before))
    process()(21)
    assert not old.exists()
    assert young.exists()  # its writer may be at it
