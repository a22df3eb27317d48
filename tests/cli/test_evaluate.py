"""The command `evaluate`: scores and the confusion matrix."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.cli.commands import SPECIES, refused, run


def test_evaluate_prints_scores_and_the_confusion_matrix(flowers, model, capsys):
    path, X, y = flowers
    assert run("evaluate", model, path, "--target", "species") == 0
    out = capsys.readouterr().out
    loaded = nbs.SoftmaxModel.load(model)
    assert f"accuracy: {loaded.score(X, y):.4f}" in out
    codes = np.searchsorted(SPECIES, y)
    assert f"log-loss: {-np.log(loaded.predict_proba(X)[np.arange(len(y)), codes]).mean():.4f}" in out
    predicted = loaded.predict(X)
    for name in SPECIES:
        precision = np.mean(y[predicted == name] == name)
        recall = np.mean(predicted[y == name] == name)
        assert any(
            line.split() == [name, f"{precision:.4f}", f"{recall:.4f}", str((y == name).sum())]
            for line in out.splitlines()
        )
    counts = [[str(np.sum((y == a) & (predicted == b))) for b in SPECIES] for a in SPECIES]
    for name, row in zip(SPECIES, counts, strict=True):
        assert any(line.split() == [name, *row] for line in out.splitlines())


def test_labels_with_line_ends_stay_in_their_lines(tmp_path, capsys):
    data, model = tmp_path / "d.csv", tmp_path / "m.npz"
    data.write_text("a,y\n" + '1,"no\nyes"\n2,b\n' * 10)
    assert run("fit", data, "--target", "y", "--out", model, "--quiet") == 0
    capsys.readouterr()
    assert run("evaluate", model, data, "--target", "y") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [lines.index(line) for line in lines if "yes" in line] == [6, 9, 11]  # scores, and both sides of the matrix
    assert [line.split()[0] for line in lines[5:7]] == ["b", r"no\nyes"]
    assert len(set(map(len, lines[4:7]))) == 1  # aligned


def test_evaluate_refuses_weights_that_do_not_add_up(flowers, model, tmp_path, capsys):
    lines = flowers[0].read_text(encoding="utf-8").splitlines()
    weighted = tmp_path / "weighted.csv"
    weighted.write_text("\n".join([f"{lines[0]},w", *(f"{line},1e308" for line in lines[1:])]), encoding="utf-8")
    evaluate = "evaluate", model, weighted, "--target", "species", "--sample-weight", "w"
    assert "the largest weight is 1e+308, too large to add up 90" in refused(capsys, *evaluate)


@pytest.mark.parametrize("labels", ["1,2,x", "true,false"])
def test_labels_of_text_are_read_as_the_classes_of_the_model(labels, tmp_path, capsys):
    given = labels.split(",")
    is_truth = given[0] == "true"
    classes = np.array([False, True]) if is_truth else np.array([1, 2])
    nbs.SoftmaxModel(np.eye(2, 1), np.zeros(2), classes, ["x"]).save(tmp_path / "m.npz")
    (tmp_path / "data.csv").write_text("x,y\n" + "".join(f"{i},{label}\n" for i, label in enumerate(given * 3)))
    command = "evaluate", tmp_path / "m.npz", tmp_path / "data.csv", "--target", "y"
    if is_truth:
        assert run(*command) == 0
    else:
        assert "the label 'x', which the model was not trained on (its classes: 1, 2)" in refused(capsys, *command)


def test_an_unknown_label_is_named_with_its_file(tmp_path, capsys):
    rows = "".join(f"{i / 7},{'pq'[i % 2]}\n" for i in range(20))
    for name, more in (("a", ""), ("b", "3,r\n")):
        (tmp_path / f"{name}.csv").write_text(f"x,y\n{rows}{more}")
    data, model = tmp_path / "a.csv", tmp_path / "m.npz"
    assert run("fit", data, "--target", "y", "--out", model, "--quiet") == 0
    capsys.readouterr()
    said = refused(capsys, "evaluate", model, data, tmp_path / "b.csv", "--target", "y")
    assert f"{tmp_path / 'b.csv'} contains the label 'r', which the model was not trained on" in said
    np.save(tmp_path / "X.npy", np.ones((2, 1)))
    np.save(tmp_path / "l.npy", np.array(["p", "r"]))
    said = refused(capsys, "evaluate", model, tmp_path / "X.npy", "--labels", tmp_path / "l.npy")
    assert f"{tmp_path / 'l.npy'} contains the label 'r'" in said
