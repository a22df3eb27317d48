"""`nbs.data.open`: `.npy` files of X, with labels, weights and offset in files beside it or in its columns."""

import gzip
import pickle

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.data.rows import M, N, W, X, together


def npy(header):
    header += " " * (-len(header) - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(240)


ODD_NPY_FILES = {
    "a truth value in the shape": (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (True, 3)}"), "damaged"),
    "unbalanced brackets": (npy("{'descr': '<f8', 'fortran_order': False, 'shape': ((2, 3)}"), "damaged"),
    "a header that is no dict": (npy("[1, 2]"), "damaged"),
    "compressed": (gzip.compress(npy("")), "compressed by gzip.*decompress"),
    "a pickle": (pickle.dumps([1, 2]), "not a NumPy file"),
    "empty": (b"", "empty"),
    "text": (b"1,2\n3,4\n", "not a NumPy file"),
}


def test_npy_files_are_mapped_and_not_copied(tmp_path):
    np.save(tmp_path / "a.npy", X[:400])
    np.save(tmp_path / "b.npy", X[400:])
    for name, array in {"y": np.arange(M) % 3, "w": W, "o": X[:, :3]}.items():
        np.save(tmp_path / f"{name}a.npy", array[:400])
        np.save(tmp_path / f"{name}b.npy", array[400:])
    beside = {name: [tmp_path / f"{name[0]}{part}.npy" for part in "ab"] for name in ("weight", "offset")} | {
        "target": [tmp_path / "ya.npy", tmp_path / "yb.npy"]
    }
    source = nbs.data.open([tmp_path / "a.npy", tmp_path / "b.npy"], batch_rows=150, **beside)
    found, y, weight, _ = together(source)
    np.testing.assert_array_equal(found, X)
    np.testing.assert_array_equal(y, np.arange(M) % 3)
    np.testing.assert_array_equal(weight, W)
    blocks = list(source.blocks())
    np.testing.assert_array_equal(np.concatenate([block.offset for block in blocks]), X[:, :3])
    copied = [block.X.flags.writeable for block in blocks]
    assert copied == [i == 2 for i in range(7)]  # a block with rows of both files


@pytest.mark.parametrize("case", ODD_NPY_FILES)
def test_a_file_that_is_no_npy_file_is_refused_by_name(case, tmp_path):
    content, said = ODD_NPY_FILES[case]
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(nbs.InputValueError, match=rf"x\.npy is .*{said}") as raised:
        nbs.data.open(tmp_path / "x.npy")
    assert "allow_pickle" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_column_of_an_npy_file_may_be_the_target(tmp_path):
    np.save(tmp_path / "x.npy", np.column_stack([X, np.arange(M) % 3]).astype(np.float64))
    for given, expected in {
        ("target", N): X,
        ("target", -1): X,
        ("target", N, 3, 1): X[:, [3, 1]],
    }.items():
        options = {"target": given[1]} | ({"features": given[2:]} if len(given) > 2 else {})
        found, y, _, _ = together(nbs.data.open(tmp_path / "x.npy", batch_rows=256, **options))
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(y, np.arange(M) % 3)


def test_columns_of_arrays_that_are_given_twice_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(6, 3))
    with pytest.raises(nbs.InputValueError, match="the column 1 is given twice in features"):
        nbs.data.open(tmp_path / "x.npy", target=2, features=[1, 0, 1])
    with pytest.raises(nbs.InputTypeError, match=r"target is an array; save it by numpy\.save"):
        nbs.data.open(tmp_path / "x.npy", target=np.arange(6))


def test_arrays_beside_several_files_may_be_named_by_a_pattern(tmp_path):
    for i in range(3):
        np.save(tmp_path / f"x{i}.npy", np.full((4, 2), float(i)))
        np.save(tmp_path / f"y{i}.npy", np.full(4, i))
    for target in (tmp_path / "y*.npy", [tmp_path / "y[01].npy", tmp_path / "y2.npy"]):
        blocks = list(nbs.data.open(tmp_path / "x*.npy", target=target, weight=tmp_path / "y*.npy").blocks())
        for of_block in ([b.y for b in blocks], [b.sample_weight for b in blocks], [b.X[:, 0] for b in blocks]):
            np.testing.assert_array_equal(np.concatenate(of_block), np.repeat([0, 1, 2], 4))
    with pytest.raises(nbs.InputValueError, match="target has 2 files, but X has 3"):
        nbs.data.open(tmp_path / "x*.npy", target=tmp_path / "y[01].npy")
    with pytest.raises(nbs.InputValueError, match=r"there is no file .*z"):
        nbs.data.open(tmp_path / "x*.npy", target=tmp_path / "z*.npy")
