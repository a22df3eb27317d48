"""Reading allocates no more memory than a file can hold."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.files.written import a_model, damaged, data, header


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((10**11, 2), "<f8"), ((2, 10**18), "<f8"), ((-1, 2), "<f8"), ((10**12,), "<U0"), ((3, 2), "<f8"), ((2,), "|O")],
)
def test_a_header_that_asks_for_more_than_there_is_is_refused(tmp_path, shape, dtype):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    a_model().save(good)
    damaged(good, "coef.npy", header(shape, dtype) + bytes(32), bad)
    with pytest.raises(nbs.InputValueError, match=r"bad\.npz is not a model, or a damaged one") as raised:
        nbs.SoftmaxModel.load(bad)
    assert "allow_pickle" not in str(raised.value)


def test_a_checkpoint_is_read_within_bounds_too(tmp_path):
    path, bad = tmp_path / "c.npz", tmp_path / "bad.npz"
    X, y = data()
    nbs.Trainer(l2=0.1).fit(X, y, checkpoint=path)
    damaged(path, "params.npy", header((10**11, 3), "<f8") + bytes(48), bad)
    with pytest.raises(nbs.InputValueError, match="not a checkpoint, or a damaged one"):
        nbs.Trainer(l2=0.1).fit(X, y, checkpoint=bad, resume=True)


def test_data_are_read_within_bounds_too(tmp_path):
    from nbsoftmax.data import arrays

    X = data()[0]
    np.savez(tmp_path / "good.npz", X=X)
    bad = damaged(tmp_path / "good.npz", "X.npy", header((10**11, 2), "<f8") + bytes(32), tmp_path / "bad.npz")
    (tmp_path / "bad.npy").write_bytes(header((10**11, 2), "<f8") + bytes(32))
    (tmp_path / "text.npy").write_text("a,b\n1,2\n")
    np.save(tmp_path / "good.npy", X)
    for read in (
        lambda: arrays.read_npz(bad, target=None),
        lambda: arrays.read_npy(tmp_path / "bad.npy"),
        lambda: arrays.read_npy(tmp_path / "text.npy"),
    ):
        with pytest.raises(nbs.InputValueError, match="NumPy file") as raised:
            read()
        assert "allow_pickle" not in str(raised.value)
    assert np.array_equal(arrays.read_npy(tmp_path / "good.npy"), X)
    assert np.array_equal(arrays.read_npz(tmp_path / "good.npz", target=None)[0], X)
