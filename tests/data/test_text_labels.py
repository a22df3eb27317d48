"""Labels of text files that are read in blocks have the types of those that are read at once."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.cli.commands import run
from tests.data import files

pytest.importorskip("pyarrow")

LABELS = {
    "integers": ["3", "-1", "20"],
    "truth values": ["true", "false"],
    "codes": ["01", "1", "2"],
    "whole floats": ["1.0", "2.0"],
    "more than 64 bits": ["12345678901234567890", "1"],
    "spaces": [" a", "a", "b"],
    "dates": ["2024-01-01", "2024-01-02"],
    "quotes": ['"a"', '"b, c"'],
    "text and numbers": ["1", "x", "1.5"],
}


def write(tmp_path, labels, *, times=4, name="data.csv"):
    rows = "".join(f"{0.37 * i % 1:.3f},{label}\n" for i, label in enumerate(labels * times))
    return files.written(tmp_path, "x,y\n" + rows, name)


def read_in_blocks(*paths, **options):
    blocks = nbs.data.open(paths, target="y", **options).blocks()
    return np.concatenate([np.asarray(block.y) for block in blocks]).tolist()


@pytest.mark.parametrize("kind", LABELS)
def test_types_are_those_of_a_file_that_is_read_at_once(kind, tmp_path):
    path = write(tmp_path, LABELS[kind])
    expected = files.read(path, target="y").y.tolist()
    assert read_in_blocks(path) == expected
    assert read_in_blocks(path, cache=tmp_path / "cache") == expected
    assert read_in_blocks(path, cache=tmp_path / "cache") == expected  # from the copy


def test_one_label_in_the_last_file_decides_the_type_of_all(tmp_path):
    whole, text = write(tmp_path, ["1", "2"], name="1.csv"), write(tmp_path, ["2", "none"], name="2.csv")
    assert set(read_in_blocks(whole)) == {1, 2}
    assert set(read_in_blocks(whole, text)) == {"1", "2", "none"}


def test_one_label_after_the_first_batch_decides_the_type_of_all(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("x,y\n" + "0.5,1\n0.25,2\n" * 200_000 + "0.5,none\n")
    assert set(read_in_blocks(path)) == {"1", "2", "none"}


def test_labels_become_the_classes_of_a_model(tmp_path):
    path = write(tmp_path, ["1", "2"])
    assert set(read_in_blocks(path, classes=["1", "2", "none"])) == {"1", "2"}
    assert set(read_in_blocks(path, classes=[1, 2, 3])) == {1, 2}
    assert set(read_in_blocks(write(tmp_path, ["True", "False"]), classes=[False, True])) == {False, True}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", "b", "NA"], r"missing value in column 'y' at row 2.*drop such rows, or, in text"),
        (["a", "b", " "], r"missing value in column 'y' at row 2.*drop such rows, or, in text"),
        (["1", "2.5", "2"], "at row 1 .* has '2.5' in column 'y': continuous values"),
        (["1", "1.0", "2"], "the labels '1' and '1.0' in column 'y', which are the same number"),
    ],
)
def test_what_cannot_be_a_label_is_refused(labels, message, tmp_path):
    with pytest.raises(nbs.InputValueError, match=message) as error:
        read_in_blocks(write(tmp_path, labels))
    assert str(error.value).count(str(tmp_path)) == 1


def test_the_file_with_a_continuous_label_is_named(tmp_path):
    files = [write(tmp_path, labels, name=f"{i}.csv") for i, labels in enumerate([["1", "2"], ["1", "2.5"], ["1"]])]
    with pytest.raises(nbs.InputValueError) as error:
        next(iter(nbs.data.open(files, target="y").blocks()))
    assert str(error.value).startswith(f"the data in {files[1]} at row 1 (counted from 0) has '2.5' in column 'y'")


def test_validation_labels_of_a_streamed_fit_become_its_classes(tmp_path):
    train = write(tmp_path, ["1", "2", "none"], name="train.csv")
    held_out = write(tmp_path, ["1", "2"], name="test.csv")
    model = tmp_path / "model.npz"
    assert run("fit", train, "--target", "y", "--stream", "--validation-data", held_out, "--out", model) == 0
    assert nbs.SoftmaxModel.load(model).classes.tolist() == ["1", "2", "none"]


def test_a_label_that_is_no_class_of_the_model_is_named(tmp_path):
    with pytest.raises(
        nbs.InputValueError,
        match=r"line 4: y contains the label 'x' at row 2 .* trained on \(its classes: 1, 2",
    ):
        read_in_blocks(write(tmp_path, ["1", "2", "x"]), classes=[1, 2, 3])
    assert set(read_in_blocks(write(tmp_path, ["true", "false"]), classes=[False, True])) == {False, True}
