"""What `nbs.data.open` says about text files that it cannot read, and the lines that its warnings name."""

import warnings

import numpy as np
import pytest

import nbsoftmax as nbs

pytest.importorskip("pyarrow")


@pytest.fixture
def written(tmp_path):
    def write(text, *, encoding="utf-8"):
        path = tmp_path / "rows.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        ("a,b,a,y\n1,2,3,0\n4,3,2,1\n", "utf-8", r"rows\.csv has several columns named 'a'; give each"),
        ("a;b;y\n1.5;2;0\n4;3;1\n", "utf-8", r"there is no column 'y'; .* \(if ';' separates the columns, give --sep"),
        ("a;b;y\n1,5;2;0\n4;3;1\n", "utf-8", r"line 2 has 2 fields, expected 1 .* \(if ';' separates the columns"),
        ("a\tb\ty\n1,5\t2\t0\n", "utf-8", r"expected 1 .*ParseOptions\(delimiter='\\t'\)"),
        ("a,größe,y\n1,2,0\n4,3,1\n", "latin-1", r"rows\.csv is not UTF-8 text \(byte 0xf6 in line 1\); .*'latin-1'"),
        ("a,b,y\n1,2,müde\n4,3,wach\n", "latin-1", r"rows\.csv is not UTF-8 text \(byte 0xfc in line 2\)"),
        ("a,b,y\n1,2,0\n4,3,1\n", "utf-16", r"is not UTF-8 text \(byte 0xff in line 1\); .* --encoding utf-16"),
        ("a,b,y\n", "utf-8", r"BlockSource\('.*rows\.csv'\) has no rows; expected at least one"),
    ],
)
def test_the_error_says_what_is_wrong_with_a_file_of_text(written, text, encoding, message):
    path = written(text, encoding=encoding)
    with pytest.raises(nbs.InputValueError, match=message):
        nbs.Trainer().fit(nbs.data.open(path, target="y"))


def test_what_the_errors_recommend_reads_the_file(written):
    import pyarrow.csv
    import pyarrow.dataset

    latin = pyarrow.dataset.CsvFileFormat(read_options=pyarrow.csv.ReadOptions(encoding="latin-1"))
    block = next(nbs.data.open(written("a,größe\n1,2\n", encoding="latin-1"), format=latin).blocks())
    assert block.X.tolist() == [[1, 2]]
    semicolons = pyarrow.dataset.CsvFileFormat(pyarrow.csv.ParseOptions(delimiter=";"))
    assert next(nbs.data.open(written("a;b\n1.5;2\n"), format=semicolons).blocks()).X.tolist() == [[1.5, 2]]


@pytest.mark.parametrize("typed", [False, True])
def test_a_label_that_the_model_does_not_know_is_named_with_its_file_and_line(tmp_path, typed):
    model = nbs.SoftmaxModel([[1.0], [0.0]], [0.0, 0.0], classes=[0, 1])
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, last in zip(paths, (1, 7), strict=True):
        path.write_text(f"x,y\n1,0\n2,{last}\n")
    source = nbs.data.open(paths, target="y", classes=model.classes if typed else None)
    with pytest.raises(nbs.InputValueError, match=r"b\.csv line 3: y contains the label '?7'? at row 1 \(counted from"):
        model.score(source)


def test_a_warning_about_the_rows_of_a_source_names_the_line_that_reads_them(written):
    path = written("x,c,y\n" + "".join(f"{i},{'ab'[i % 2]},{i // 2 % 2}\n" for i in range(8)))
    source = nbs.data.open(path, target="y", table=nbs.TableOptions())
    model = nbs.Trainer(l2=0.1).fit(source).model
    other = nbs.data.open(written("x,c\n1,a\n2,new\n"), table=model.encoding)
    with pytest.warns(nbs.UnknownLevelsWarning, match=r"'c' in 1 row \('new'\)") as caught:
        assert model.predict(other).shape == (2,)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(nbs.UnknownLevelsWarning):
            model.predict_proba(other)
    assert np.isfinite(model.coef).all()
