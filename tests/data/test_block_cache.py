"""The copy of blocks on disk: it has the numbers of the files, or it is not read."""

import itertools
import os
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.data import block_cache
from nbsoftmax.files import NotWrittenWarning
from tests.data.rows import N, X, Y, table, together, write
from tests.data.test_open_files import COLUMNS


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "t.csv")


def opened(path, **options):
    return nbs.data.open(path, batch_rows=300, cache=path.parent / "copies", **(COLUMNS | options))


def copies(path):
    folder = path.parent / "copies"
    return sorted(folder.iterdir()) if folder.exists() else []


def same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_copy_has_the_blocks_of_the_files_in_this_process_and_the_next(path):
    plain = together(nbs.data.open(path, batch_rows=300, **COLUMNS))
    first = opened(path)
    same(together(first), plain)
    assert first.summary().startswith("copied to ")
    (copy,) = copies(path)
    again = opened(path)
    for source in (first, again):
        same(together(source), plain)
        same(together(source, np.float64), plain)  # its own dtype
        assert all(not block.X.flags.writeable for block in source.blocks())  # mapped
        assert source.feature_names == tuple(f"f{j}" for j in range(N))
    assert again.summary().startswith("read from ")
    assert copies(path) == [copy]
    assert again.block(2) is None  # as without a copy, so that the order of sgd is the same


def test_a_fit_from_the_copy_has_the_bits_of_one_from_the_files(path):
    trainer = nbs.Trainer(l2=0.01)
    plain = trainer.fit(nbs.data.open(path, batch_rows=300, **COLUMNS))
    first, second = trainer.fit(opened(path)), trainer.fit(opened(path))
    assert first.model.coef.tobytes() == second.model.coef.tobytes() == plain.model.coef.tobytes()
    assert "copied to" in first.summary
    assert "read from the copy in" in second.summary
    assert "copy" not in plain.summary


CHANGES = {
    "another file": lambda path: write(path, table(X + 1)),
    "the same size, another time": lambda path: os.utime(path, ns=(1, 1)),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_copy_of_files_that_have_changed_is_not_read(case, path):
    together(opened(path))
    before = copies(path)
    CHANGES[case](path)
    same(together(opened(path)), together(nbs.data.open(path, batch_rows=300, **COLUMNS)))
    assert len(copies(path)) == len(before) + 1


@pytest.mark.parametrize(
    "options", [{"features": ["f1"]}, {"batch_rows": 200}, {"weight": None}, {"target": None}], ids=str
)
def test_other_options_have_a_copy_of_their_own(options, path):
    together(opened(path))
    options = {"batch_rows": 300} | COLUMNS | {"features": ["f0", "f1"]} | options
    source = nbs.data.open(path, cache=path.parent / "copies", **options)
    same([a for a in together(source)[:1]], [a for a in together(nbs.data.open(path, **options))[:1]])
    assert len(copies(path)) == 2


def test_another_dtype_has_a_copy_of_its_own(path):
    plain = together(nbs.data.open(path, batch_rows=300, **COLUMNS), np.float32)
    for _ in range(2):
        same(together(opened(path), np.float32), plain)
    assert len(copies(path)) == 1


DAMAGES = {
    "cut off": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a bit of a number": lambda content: content[:3000] + bytes([content[3000] ^ 1]) + content[3001:],
    "another bit": lambda content: content[:-9000] + bytes([content[-9000] ^ 4]) + content[-8999:],
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_copy_is_made_again(case, path):
    plain = together(opened(path))
    (copy,) = copies(path)
    content = copy.read_bytes()
    copy.write_bytes(DAMAGES[case](content))
    source = opened(path)
    same(together(source), plain)
    assert copy.read_bytes() == content
    same(together(source), plain)


@pytest.mark.parametrize("role", ["sample_weight", "offset"])
def test_a_copy_with_a_damaged_weight_or_offset_is_made_again(role, path):
    def numbers(source):
        return np.concatenate([getattr(block, role) for block in source.blocks()])

    options = {"features": ["f0", "f1"], "offset": ["f2", "f3", "f4"]}
    plain = numbers(opened(path, **options))
    (copy,) = copies(path)
    content = copy.read_bytes()
    at = content.index(plain[:1].tobytes())
    copy.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    source = opened(path, **options)
    np.testing.assert_array_equal(numbers(source), plain)
    assert copy.read_bytes() == content


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that end quickly")
def test_a_copy_with_a_damaged_offset_or_name_or_type_is_made_again(tmp_path):
    """Damaged offsets of texts ended the process; each damage is read by a process of its own."""
    path = write(tmp_path / "t.csv", table().slice(0, 8))
    plain = together(opened(path))
    (copy,) = copies(path)
    content = copy.read_bytes()
    offsets = content.index(np.arange(0, 15, 3, dtype=np.int32).tobytes())
    names = [at for at in range(len(content)) if content.startswith(b'"f1"', at)]
    for at in [*range(8, len(content), 53), *range(offsets, offsets + 36, 3), *(at + 1 for at in names)]:
        copy.write_bytes(content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :])
        child = os.fork()
        if child == 0:
            code = 1
            try:
                source = opened(path)
                same(together(source)[:3], plain[:3])
                assert source.feature_names == tuple(f"f{j}" for j in range(N))
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0, at
        copy.write_bytes(content)


def test_an_interrupted_pass_leaves_nothing(path):
    blocks = opened(path).blocks()
    next(blocks)
    assert len(copies(path)) == 1  # under a temporary name
    blocks.close()
    assert copies(path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("ends", ["goes on", "closes"])
def test_a_forked_child_changes_nothing_in_the_copy_that_its_parent_writes(path, ends):
    """One that went on wrote blocks into the copy, which later passes read; one that closed the pass removed it."""
    source = opened(path)
    blocks = source.blocks()
    first = next(blocks)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if ends == "goes on":
                with pytest.raises(RuntimeError, match="begun by another process"):
                    next(blocks)
            blocks.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    plain = np.concatenate([first.X, *(block.X for block in blocks)])
    assert len(copies(path)) == 1
    assert "copied" in source.summary()
    np.testing.assert_array_equal(np.concatenate([block.X for block in source.blocks()]), plain)


def test_a_copy_that_cannot_be_written_is_a_warning(path):
    (path.parent / "copies").write_text("a file")
    source = opened(path)
    with pytest.warns(NotWrittenWarning, match="copy of the blocks"):
        found = together(source)
    same(found, together(nbs.data.open(path, batch_rows=300, **COLUMNS)))


def test_a_fit_tries_once_to_write_a_copy(path, monkeypatch):
    source, tries = opened(path), []

    def full(*_):
        tries.append(1)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(block_cache._Writer, "add", full)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        result = nbs.Trainer(l2=0.01).fit(source)
    assert [str(warning.message) for warning in seen] == [
        f"the copy of the blocks {path.parent / 'copies'} could not be written (No space left on device); "
        "the fit continues."
    ]
    assert result.converged
    assert len(tries) == 1
    assert copies(path) == []


@pytest.mark.parametrize(("rate", "n"), [(0.0, 0), (np.inf, 1)])
def test_what_is_decoded_fast_enough_is_not_copied(rate, n, tmp_path, monkeypatch):
    monkeypatch.setattr(block_cache, "MAPPED", rate)
    monkeypatch.setattr(block_cache, "TRIED", 2)
    path = write(tmp_path / "t.parquet")
    source = opened(path)
    together(source)
    assert len(copies(path)) == n
    assert ("no copy was made" in source.summary()) == (n == 0)
    if n == 0:  # and later passes do not begin one
        monkeypatch.setattr(block_cache, "_Writer", None)
        together(source)


@pytest.mark.parametrize(("share", "n"), [(0.9, 0), (1.1, 1)])
def test_the_rate_of_decoding_is_that_of_the_first_blocks(share, n, tmp_path, monkeypatch):
    seconds = itertools.count(1e9)  # each block takes one
    monkeypatch.setattr(block_cache, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    monkeypatch.setattr(block_cache, "TRIED", 2)
    monkeypatch.setattr(block_cache, "MAPPED", share * 300 * N * X.itemsize)
    together(opened(write(tmp_path / "t.parquet")))
    assert len(copies(tmp_path / "t.parquet")) == n


def test_text_is_copied_however_fast_it_is_decoded(path, monkeypatch):
    monkeypatch.setattr(block_cache, "MAPPED", 0.0)
    monkeypatch.setattr(block_cache, "TRIED", 2)
    source = opened(path)
    together(source)
    assert len(copies(path)) == 1
    assert source.summary().startswith("copied to ")


def test_no_summary_says_that_a_copy_was_needless_where_it_could_not_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(block_cache, "MAPPED", 0.0)
    monkeypatch.setattr(block_cache, "TRIED", 2)
    (tmp_path / "copies").write_text("a file")
    source = opened(write(tmp_path / "t.parquet"))
    with pytest.warns(NotWrittenWarning, match="copy of the blocks"):
        together(source)
    assert "copy" not in source.summary()


def test_the_numbers_of_a_block_are_compared_with_its_checksum_once(path, monkeypatch):
    together(opened(path))
    checksum, calls = block_cache._checksum, []
    monkeypatch.setattr(block_cache, "_checksum", lambda *given: calls.append(1) or checksum(*given))
    source = opened(path)
    for _ in range(3):
        together(source)
    assert len(calls) == 4  # blocks of 300 of 1000 rows


def test_npy_files_are_not_copied(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", np.unique(Y, return_inverse=True)[1])
    source = nbs.data.open(tmp_path / "x.npy", target=tmp_path / "y.npy", cache=tmp_path / "copies")
    together(source)
    assert not (tmp_path / "copies").exists()


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("cached", [False, True])
def test_errors_about_a_value_name_the_file_and_the_line(tmp_path, drop, cached):
    for k in range(2):
        rows = [f"{i},{'pq'[i % 2]},1" for i in range(100)]
        rows[7] = ",p,1" if drop else rows[7]
        rows[50] = "3,p,-2" if k else rows[50]
        (tmp_path / f"{k}.csv").write_text("\n".join(["a,y,w", *rows, ""]))
    options = {"table": nbs.TableOptions(missing="drop")} if drop else {}
    options |= {"cache": tmp_path / "cache"} if cached else {}
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            source = nbs.data.open(tmp_path / "*.csv", target="y", weight="w", batch_rows=64, **options)
        for _ in source.blocks():  # writes a copy, which the fit then reads
            pass
        with pytest.raises(nbs.InputValueError, match=r"1\.csv line 52: sample_weight"):
            nbs.Trainer(l2=1).fit(source)
