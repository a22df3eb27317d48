"""Files of columns on the command line: their formats, the options of text, progress, and what is missing."""

import gzip
import io
import subprocess
import sys

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.cli import reading_progress
from tests.cli.commands import in_a_process, refused, run

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def as_parquet(table):
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def as_arrow(new):
    def write(table):
        file = io.BytesIO()
        with new(file, table.schema) as writer:
            writer.write_table(table)
        return file.getvalue()

    return write


def as_text(encoding, separator, decimal):
    def write(table):
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        lines = [separator.join(table.schema.names)]
        lines += [separator.join([*(str(x).replace(".", decimal) for x in row[:-1]), row[-1]]) for row in rows]
        return "\n".join(lines).encode(encoding)

    return write


WRITERS = {
    "parquet": as_parquet,
    "feather": as_arrow(pa.ipc.new_file),
    "arrow stream": as_arrow(pa.ipc.new_stream),
    "tsv": as_text("utf-8", "\t", "."),
    "csv.gz": lambda table: gzip.compress(as_text("utf-8", ",", ".")(table)),
    "European CSV of Excel": as_text("utf-16", ";", ","),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_command_reads_files_of_columns_from_disk_and_from_a_pipe(flowers, model, tmp_path, capsys, kind):
    _, X, y = flowers
    data = tmp_path / "data"
    data.write_bytes(WRITERS[kind](pa.table({"length": X[:, 0], "width": X[:, 1], "species": y})))
    assert run("fit", data, "--target", "species", "--out", tmp_path / "m.npz", "--l2", 0.01, "--quiet") == 0
    assert (tmp_path / "m.npz").read_bytes() == model.read_bytes()
    assert run("evaluate", model, data, "--target", "species") == 0
    capsys.readouterr()
    assert run("predict", model, data) == 0
    labels = capsys.readouterr().out.split()
    assert labels == ["label", *nbs.SoftmaxModel.load(model).predict(X)]
    with open(data, "rb") as file:
        done = in_a_process("predict", model, "-", stdin=file)
    assert done.stdout.split() == labels, done.stderr


def test_options_say_how_text_is_written(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=60).round(3), rng.choice(["NA", "\u00e9t\u00e9"], 60)
    lines = [f"{x}:'{label}'".replace(".", ",") for x, label in zip(X, y, strict=True)]
    data = tmp_path / "d.txt"
    data.write_bytes("\n".join(["x:y", *lines]).encode("latin-1"))
    given = "--sep", ":", "--decimal", ",", "--quote", "'", "--encoding", "latin-1", "--null", "?", "--null", "-"
    fit = "fit", data, "--target", "y", "--out", tmp_path / "m.npz", "--quiet", "--l2", 0.1
    assert run(*fit, *given) == 0
    expected = nbs.Trainer(l2=0.1).fit(X[:, None], y).model
    saved = nbs.SoftmaxModel.load(tmp_path / "m.npz")
    assert np.array_equal(saved.coef, expected.coef)
    assert saved.classes.tolist() == ["NA", "\u00e9t\u00e9"]
    (tmp_path / "run.toml").write_text(
        "[fit]\nsep = ':'\ndecimal = ','\nquote = \"'\"\nencoding = 'latin-1'\nnull = ['?', '-']"
    )
    assert run(*fit, "--config", tmp_path / "run.toml") == 0
    assert np.array_equal(nbs.SoftmaxModel.load(tmp_path / "m.npz").coef, expected.coef)
    capsys.readouterr()
    for arguments in (("evaluate", tmp_path / "m.npz", data, "--target", "y"), ("predict", tmp_path / "m.npz", data)):
        assert run(*arguments, *given) == 0
    capsys.readouterr()
    for option, value in (("sep", "ab"), ("decimal", "x"), ("quote", "ab"), ("encoding", "utf-9")):
        assert f"--{option} is '{value}', expected" in refused(capsys, *fit, f"--{option}", value).replace(
            "which Python does not know; ", ""
        )


def test_options_of_text_are_refused_for_other_files(flowers, tmp_path, capsys):
    _, X, y = flowers
    np.savez(tmp_path / "d.npz", X=X, y=y)
    (tmp_path / "d.parquet").write_bytes(as_parquet(pa.table({"a": X[:, 0], "y": y})))
    for name in ("d.npz", "d.parquet"):
        fit = "fit", tmp_path / name, "--target", "y", "--out", tmp_path / "m.npz"
        for option in (("--sep", ";"), ("--null", "-"), ("--encoding", "utf-8")):
            assert f"{option[0]} is for text such as CSV" in refused(capsys, *fit, *option)


def test_mistakes_in_files_of_columns_are_refused_in_one_line(flowers, model, tmp_path, capsys):
    _, X, y = flowers
    data = tmp_path / "d.parquet"
    whole = as_parquet(pa.table({"length": X[:, 0], "width": X[:, 1], "species": y}))
    data.write_bytes(whole)
    fit = "fit", data, "--out", tmp_path / "m.npz", "--quiet"
    assert "name the column of labels with --target NAME; the columns of" in refused(capsys, *fit)
    assert "(did you mean 'species'?)" in refused(capsys, *fit, "--target", "Species")
    data.write_bytes(whole[:-20])
    assert "cannot be read as a Parquet file" in refused(capsys, *fit, "--target", "species")
    data.write_bytes(as_parquet(pa.table({"length": X[:, 0], "width": y})))
    assert "has the type string in column 'width', expected numbers" in refused(capsys, "predict", model, data)
    packed = tmp_path / "d.csv.gz"
    packed.write_bytes(gzip.compress(flowers[0].read_bytes())[:-100])
    assert "is a damaged gzip file" in refused(capsys, "predict", model, packed)
    assert "d.csv.gz is a damaged gzip file" in refused(capsys, "predict", model, tmp_path)
    picture = "--target", "species", "--out", tmp_path / "p.png"
    assert "stands for several files, but this command reads one" in refused(
        capsys, "plot", "confusion", model, tmp_path, *picture
    )


def test_without_pyarrow_the_message_says_what_to_install(flowers, model, tmp_path, capsys, monkeypatch):
    path, X, y = flowers
    (tmp_path / "d.parquet").write_bytes(as_parquet(pa.table({"length": X[:, 0], "width": X[:, 1]})))
    np.savez(tmp_path / "d.npz", X=X, y=y)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for data in (path, tmp_path / "d.parquet"):
        said = refused(capsys, "predict", model, data)
        assert 'read by pyarrow, which is missing; install it with: pip install "nbsoftmax[data]".' in said
    assert run("predict", model, tmp_path / "d.npz") == 0
    assert run("demo", "--out", tmp_path) == 0


def test_commands_without_tables_do_not_import_pyarrow(tmp_path):
    np.savez(tmp_path / "d.npz", X=np.eye(4), y=[0, 1, 0, 1])
    code = (
        "import sys, nbsoftmax.cli as c; "
        f"c.main(['fit', {str(tmp_path / 'd.npz')!r}, '--out', {str(tmp_path / 'm.npz')!r}, '--l2', '1', '--quiet']); "
        "sys.exit('pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_progress_is_shown_on_a_terminal_while_a_file_is_read(flowers, tmp_path, monkeypatch, quiet):
    monkeypatch.setattr(reading_progress, "AFTER", 0.0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert run("fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz", "--l2", 1, *quiet) == 0
    shown = terminal.getvalue()
    assert ("reading flowers.csv: 0 of 0 MB" in shown) == (not quiet)
    if not quiet:
        assert shown.index("reading") < shown.index(reading_progress.ERASE, shown.index("reading"))


def test_progress_is_not_shown_elsewhere_nor_in_the_first_second(flowers, tmp_path, monkeypatch, capsys):
    fit = "fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz", "--l2", 1
    monkeypatch.setattr(reading_progress, "AFTER", 1e9)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert run(*fit) == 0
    assert "reading" not in terminal.getvalue()
    monkeypatch.undo()
    monkeypatch.setattr(reading_progress, "AFTER", 0.0)
    assert run(*fit) == 0
    assert "reading" not in capsys.readouterr().err
