"""Pictures are written atomically."""

import os
import warnings

import pytest

import nbsoftmax as nbs
from nbsoftmax.plots import save_picture


def test_pictures_are_written_atomically_in_every_format(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure((1, 1))
    from nbsoftmax.plots import FORMATS

    for ending in FORMATS:
        save_picture(figure, tmp_path / f"p.{ending.upper()}", dpi=30)
        assert (tmp_path / f"p.{ending.upper()}").stat().st_size > 0
    assert len(os.listdir(tmp_path)) == len(FORMATS)
    for name in ("p", "p.gif", "p.txt", ".png"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(nbs.InputValueError, match=r"expected one of \.png, \.svg, \.pdf"):
                save_picture(figure, tmp_path / name, dpi=30)
