"""Displays draw the numbers that they were given; what cannot be drawn is refused."""

import json
import sys
from operator import attrgetter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbsoftmax as nbs
from nbsoftmax.errors import a_type

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

from nbsoftmax import plots  # noqa: E402
from nbsoftmax.data import digits  # noqa: E402
from nbsoftmax.plots.names import LONGEST_NAME, literal, short_names  # noqa: E402
from nbsoftmax.training.callbacks import JsonLines  # noqa: E402

NAMES = np.array(["ash", "beech", "a class of a very long name indeed"])
NAMES_SORTED = np.sort(NAMES)


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    codes = (X @ rng.normal(size=(2, 3)) + rng.gumbel(size=(300, 3))).argmax(axis=1)
    return X, NAMES[codes], nbs.Trainer(l2=0.01).fit(X, NAMES[codes])


def test_convergence_draws_the_objective_above_the_minimum(trained):
    result = trained[2]
    display = plots.ConvergenceDisplay.from_result(result)
    x, y = display.lines_[0].get_data()
    assert x.tolist() == list(range(1, result.n_iter + 1))
    np.testing.assert_allclose(y, result.history["objective"] - (result.objective - result.gap))
    assert (y > 0).all()
    over = plots.ConvergenceDisplay.from_result({"one": result, "two": result}, over="seconds")
    assert [line.get_label() for line in over.lines_] == ["one", "two"]
    assert over.lines_[0].get_xdata().tolist() == result.history["seconds"].tolist()
    with pytest.raises(nbs.InputValueError, match="over"):
        display.plot(over="epochs")


def test_convergence_of_a_log(trained, tmp_path):
    X, y, _ = trained
    log = tmp_path / "log"
    results = [nbs.Trainer(l2=l2, callbacks=[JsonLines(log)]).fit(X, y) for l2 in (0.1, 0.01)]
    display = plots.ConvergenceDisplay.from_log(log)
    assert [len(line.get_xdata()) for line in display.lines_] == [r.n_iter for r in results]
    for bad in ("", "not json\n", json.dumps({"a": 1}) + "\n", json.dumps({"iteration": 1}) + "\n"):
        log.write_text(bad)
        with pytest.raises(nbs.InputValueError, match="fit --log"):
            plots.ConvergenceDisplay.from_log(log)
    log.write_bytes(b"\x93\xbf\xff\x00")  # no text at all
    with pytest.raises(nbs.InputValueError, match="fit --log"):
        plots.ConvergenceDisplay.from_log(log)


def test_coefficients_as_bars_are_the_biggest_of_each_class():
    coef = np.array([[0.5, -3.0, 1.0], [2.0, 0.1, 0.0]])
    model = nbs.SoftmaxModel(coef, [0.0, 0.0], ["a", "b"], ["x", "y", "z"])
    display = plots.CoefficientDisplay.from_model(model, n_features=2)
    first, second = display.axes_
    assert [bar.get_width() for bar in first.patches] == [-3.0, 1.0]
    assert [text.get_text() for text in first.get_yticklabels()] == ["y", "z"]
    assert [bar.get_width() for bar in second.patches] == [2.0, 0.1]
    assert (first.get_title(), second.get_title()) == ("a", "b")


def test_bars_of_one_or_two_features_are_as_tall_as_those_of_five():
    heights = [
        plots.CoefficientDisplay.from_model(
            nbs.SoftmaxModel(np.ones((3, n)), np.zeros(3), [0, 1, 2])
        ).figure_.get_size_inches()[1]
        for n in (1, 2, 5, 6)
    ]
    assert heights[0] == heights[1] == heights[2] < heights[3]


@pytest.mark.parametrize("form", ["dense", "sparse", "table", "estimator", "pipeline", "scikit-learn"])
def test_weights_are_multiplied_by_standard_deviations(trained, form):
    pytest.importorskip("sklearn")
    import pandas as pd
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler

    X, y, result = trained
    given, shown, model, deviations = X, result, result.model, X.std(axis=0)
    if form == "sparse":
        given = sparse.coo_array(np.where(X > 0, X, 0.0))
        deviations = np.where(X > 0, X, 0.0).std(axis=0)
    elif form == "table":
        kinds = np.where(X[:, 0] > 0, "a", "b")
        given = pd.DataFrame({"kind": kinds, "width": 1e3 + X[:, 1]})
        shown = nbs.Trainer(l2=1e-2).fit(given, y)
        model = shown.model
        features = [kinds == name.split("[")[1][0] if "[" in name else given["width"] for name in model.feature_names]
        deviations = np.std(np.array(features, float), axis=1)
    elif form == "estimator":
        shown = nbs.SoftmaxRegression().fit(X, y)
        model = shown.model_
    elif form == "pipeline":
        shown = make_pipeline(MaxAbsScaler(), nbs.SoftmaxRegression()).fit(X, y)
        model, deviations = shown[-1].model_, deviations / np.abs(X).max(axis=0)
    elif form == "scikit-learn":
        shown = LogisticRegression().fit(X, y)
        model = nbs.SoftmaxModel.from_sklearn(shown)
    display = plots.CoefficientDisplay.from_estimator(shown, given)
    np.testing.assert_allclose(display.coef, model.coef * deviations, rtol=1e-9, atol=1e-12)
    assert display.axes_[0].get_xlabel() == "weight x standard deviation"


def test_rows_that_a_fit_leaves_out_do_not_count_in_standard_deviations(trained):
    import pandas as pd

    X, y, _ = trained
    frame = pd.DataFrame({"length": X[:, 0], "width": np.where(np.arange(300) % 7, X[:, 1], np.nan)})
    with pytest.warns(UserWarning, match="left out"):
        result = nbs.Trainer(l2=1e-2, table=nbs.TableOptions(missing="drop")).fit(frame, y)
    with pytest.warns(UserWarning, match="43 of 300 rows have missing values"):
        display = plots.CoefficientDisplay.from_estimator(result, frame)
    np.testing.assert_allclose(display.coef, result.model.coef * X[np.arange(300) % 7 > 0].std(axis=0), rtol=1e-9)


def test_a_pipeline_in_a_pipeline_transforms_the_features_twice(trained):
    pytest.importorskip("sklearn")
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import MaxAbsScaler, StandardScaler

    X, y, _ = trained
    inner = make_pipeline(MaxAbsScaler(), nbs.SoftmaxRegression())
    for outer in (Pipeline([("inner", inner)]), make_pipeline(StandardScaler(), inner)):
        outer.fit(X * 100, y)
        Z = outer[:-1].transform(X * 100) if len(outer.steps) > 1 else X * 100
        display = plots.CoefficientDisplay.from_estimator(outer, X * 100)
        expected = outer[-1][-1].model_.coef * (Z / np.abs(Z).max(axis=0)).std(axis=0)
        np.testing.assert_allclose(display.coef, expected, rtol=1e-9)


def test_features_without_a_finite_standard_deviation_cannot_scale_weights(trained):
    X, _, result = trained
    with pytest.raises(nbs.InputValueError, match=r"feature 0 .* exceeds the range of float64; give the features in"):
        plots.CoefficientDisplay.from_estimator(result, X * 1e200)
    without = nbs.SoftmaxModel(result.model.coef * [0, 1], result.model.intercept, result.model.classes)
    display = plots.CoefficientDisplay.from_estimator(without, X * [1e200, 1])
    assert (display.coef[:, 0] == 0).all()
    constant = plots.CoefficientDisplay.from_estimator(result, np.full((3, 2), 0.1))
    assert (constant.coef == 0).all()
    with pytest.raises(nbs.InputValueError, match="X has 1 feature, but the model was trained on 2"):
        plots.CoefficientDisplay.from_estimator(result, X[:, :1])
    with pytest.raises(nbs.InputValueError, match="X has no rows"):
        plots.CoefficientDisplay.from_estimator(result, X[:0])


def test_coefficients_as_images():
    coef = np.arange(12.0).reshape(2, 6) - 5
    model = nbs.SoftmaxModel(coef, [0.0, 0.0], [0, 1])
    figure = Figure()
    display = plots.CoefficientDisplay.from_model(model, image_shape=(2, 3), figure=figure)
    assert display.figure_ is figure
    assert np.array_equal(display.axes_[1].images[0].get_array(), coef[1].reshape(2, 3))
    with pytest.raises(nbs.InputValueError, match="6 features"):
        plots.CoefficientDisplay.from_model(model, image_shape=(2, 4))


def test_reliability_draws_its_bins_without_the_empty_ones(trained):
    X, y, result = trained
    display = plots.ReliabilityDisplay.from_model(result.model, X, y, n_bins=5)
    codes = np.searchsorted(result.model.classes, y)
    found = nbs.reliability(codes, result.model.predict_proba(X), n_bins=5)
    for k, line in enumerate(display.lines_):
        some = found.weight[k] > 0
        assert np.array_equal(line.get_xdata(), found.confidence[k][some])
        assert np.array_equal(line.get_ydata(), found.frequency[k][some])
    assert display.lines_[0].get_label() == "a clas…name indeed"


def test_confusion_counts_rows_true_and_columns_predicted():
    model = nbs.SoftmaxModel([[1.0], [-1.0]], [0.0, 0.0], ["plus", "minus"])
    X, y = np.array([[2.0], [1.0], [-1.0], [3.0]]), ["plus", "minus", "minus", "minus"]
    display = plots.ConfusionDisplay.from_model(model, X, y)
    assert display.confusion.tolist() == [[1, 0], [2, 1]]
    assert np.array_equal(display.image_.get_array(), display.confusion)
    assert [t.get_text() for t in display.ax_.texts] == ["1", "2", "1"]
    shares = display.plot(normalize=True).image_.get_array()
    np.testing.assert_allclose(shares, [[1, 0], [2 / 3, 1 / 3]])


def test_paths_and_cross_validations(trained):
    X, y, _ = trained
    path = nbs.fit_path(X, y, l2s=[1.0, 0.01, 0.1])
    display = plots.PathDisplay.from_path(path)
    order = np.argsort(path.l2s)
    drawn = np.array([line.get_ydata() for line in display.lines_])
    assert np.array_equal(drawn, path.coefs[order].reshape(3, -1).T)
    found = nbs.cross_validate(X, y, Cs=[0.01, 1.0, 100.0])
    drawn = plots.PathDisplay.from_cv(found).lines_[0]
    assert np.array_equal(drawn.get_xdata(), found.Cs)
    assert np.array_equal(drawn.get_ydata(), found.log_loss.mean(axis=1))
    with pytest.raises(nbs.InputValueError, match="logarithmic"):
        plots.PathDisplay.from_path(nbs.fit_path(X, y, l2s=[0.0, 1.0]))


def test_decision_regions_have_the_colour_of_the_prediction(trained):
    X, y, result = trained
    display = plots.DecisionDisplay.from_model(result.model, X, y, resolution=20)
    picture = np.asarray(display.ax_.images[0].get_array())
    left, right, low, high = display.ax_.images[0].get_extent()
    grid = np.column_stack([np.tile(np.linspace(left, right, 20), 20), np.repeat(np.linspace(low, high, 20), 20)])
    predicted = np.searchsorted(result.model.classes, result.model.predict(grid))
    darkest = picture.reshape(-1, 3).argmin(axis=1)  # of C0, C1, C2 the least of red, green, blue: 0, 2, 0 or 2
    for k, channel in {0: 0, 1: 2}.items():
        assert (darkest[predicted == k] == channel).all()
    three = nbs.SoftmaxModel(np.eye(3), np.zeros(3), [0, 1, 2])
    with pytest.raises(nbs.InputValueError, match="3 features"):
        plots.DecisionDisplay.from_model(three, np.eye(3), [0, 1, 2])


@pytest.fixture(scope="module")
def fitted(trained):
    """The same model, in everything that is accepted."""
    sklearn_pipeline = pytest.importorskip("sklearn.pipeline")
    from sklearn.model_selection import GridSearchCV
    from sklearn.preprocessing import StandardScaler

    X, y, result = trained
    estimator = nbs.SoftmaxRegression(C=1.0).fit(X, y)
    pipeline = sklearn_pipeline.make_pipeline(StandardScaler(), nbs.SoftmaxRegression(C=1.0)).fit(X, y)
    search = GridSearchCV(nbs.SoftmaxRegression(), {"C": [1.0]}, cv=2).fit(X, y.astype(object))
    return {
        "result": (result, result.model),
        "estimator": (estimator, estimator.model_),
        "pipeline": (pipeline, pipeline[-1].model_),
        "one step": (sklearn_pipeline.Pipeline([("last", estimator)]), estimator.model_),
        "search": (search, search.best_estimator_.model_),
        "LogisticRegression": (result.model.to_sklearn(), result.model),
    }


@pytest.mark.parametrize("kind", ["result", "estimator", "pipeline", "one step", "search", "LogisticRegression"])
def test_displays_take_estimators_and_pipelines(trained, fitted, kind):
    X, y, _ = trained
    shown, model = fitted[kind]
    predictor = getattr(shown, "model", shown)
    weights = plots.CoefficientDisplay.from_estimator(shown)
    assert np.array_equal(weights.coef, model.coef)
    curves = plots.ReliabilityDisplay.from_estimator(shown, X, y)
    proba = predictor.predict_proba(X)
    expected = nbs.reliability(np.searchsorted(NAMES_SORTED, y), proba).confidence
    np.testing.assert_array_equal(curves.reliability.confidence, expected)  # NaN in empty bins
    counts = plots.ConfusionDisplay.from_estimator(shown, X, y).confusion
    assert np.trace(counts) == (predictor.predict(X) == y).sum()
    regions = plots.DecisionDisplay.from_estimator(shown, X, y, resolution=5)
    assert np.array_equal(regions.predict_proba(X), proba)
    assert plots.CoefficientDisplay.from_model(shown).classes == NAMES_SORTED.tolist()


def test_a_pipeline_names_the_features_of_its_last_step(trained):
    pytest.importorskip("sklearn")
    import pandas as pd
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures

    X, y, _ = trained
    frame = pd.DataFrame(X, columns=["length", "width"])
    pipeline = make_pipeline(PolynomialFeatures(2, include_bias=False), nbs.SoftmaxRegression()).fit(frame, y)
    names = plots.CoefficientDisplay.from_estimator(pipeline).feature_names
    assert names == ("length", "width", "length^2", "length width", "width^2")
    regions = plots.DecisionDisplay.from_estimator(pipeline, frame, y, resolution=5)  # no warning of missing names
    assert (regions.ax_.get_xlabel(), regions.ax_.get_ylabel()) == ("length", "width")


@pytest.mark.parametrize(
    ("library", "of"),
    [("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "table"), ("pyarrow", "RecordBatch.from_pydict")],
)
def test_regions_are_the_same_for_a_table_of_any_library(library, of):
    table = attrgetter(of)(pytest.importorskip(library))
    X, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3
    given = table({"a": X[:, 0], "b": X[:, 1]})
    model = nbs.Trainer(l2=0.1).fit(given, y).model
    regions = plots.DecisionDisplay.from_estimator(model, given, y, resolution=5)
    plain = plots.DecisionDisplay.from_estimator(model, X, y, resolution=5)
    assert regions.ax_.get_xlabel() == "a"
    assert np.array_equal(regions.ax_.images[0].get_array(), plain.ax_.images[0].get_array())


@pytest.mark.parametrize("odd", [None, "m.npz", np.eye(3), nbs.SoftmaxRegression])
def test_what_is_no_fitted_classifier_is_refused_in_one_line(trained, odd):
    X, y, _ = trained
    odd = odd() if isinstance(odd, type) else odd
    for draw in (
        plots.CoefficientDisplay.from_estimator,
        lambda it: plots.ReliabilityDisplay.from_estimator(it, X, y),
        lambda it: plots.ConfusionDisplay.from_estimator(it, X, y),
        lambda it: plots.DecisionDisplay.from_estimator(it, X, y),
    ):
        with pytest.raises(nbs.InputTypeError, match=f"estimator is {a_type(odd)}, expected a SoftmaxModel"):
            draw(odd)


@given(st.lists(st.text("ab_ ", max_size=60), min_size=1, max_size=8), st.text("ab_", max_size=30))
def test_short_names_differ_where_the_names_do(names, prefix):
    names = [prefix + name for name in names]
    short = short_names(names)
    assert [names.index(name) for name in names] == [short.index(name) for name in short]
    if max(map(len, names)) <= LONGEST_NAME:
        assert short == [literal(name) for name in names]


def test_long_names_lose_what_they_share():
    names = ["onehotencoder__class_1st", "onehotencoder__class_2nd", "onehotencoder__sex_female"]
    assert short_names(names) == ["…class_1st", "…class_2nd", "…sex_female"]
    assert short_names(["a very long name that stands alone"]) == ["a very…tands alone"]


def test_axes_that_are_given_are_drawn_on_and_pyplot_knows_of_no_figure(trained):
    X, y, result = trained
    axes = Figure().subplots(4)
    displays = (
        plots.ConvergenceDisplay.from_result(result, ax=axes[0]),
        plots.ReliabilityDisplay.from_model(result.model, X, y, ax=axes[1]),
        plots.ConfusionDisplay.from_model(result.model, X, y, ax=axes[2]),
        plots.DecisionDisplay.from_model(result.model, X, y, ax=axes[3]),
    )
    for display, ax in zip(displays, axes, strict=True):
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
    if "matplotlib.pyplot" in sys.modules:
        assert matplotlib.pyplot.get_fignums() == []


def test_the_digits_picture_is_a_png(trained, tmp_path):
    X, y = digits.load()
    result = nbs.Trainer(l2=1e-2).fit(X[:300] / 16, y[:300])
    plots.save_digits_picture(result, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_command_to_install_it_is_named(trained, monkeypatch):
    error = ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
    monkeypatch.setattr("builtins.__import__", _refusing("matplotlib", error, __import__))
    with pytest.raises(ModuleNotFoundError, match=r"pip install \"nbsoftmax\[plot\]\""):
        plots.ConvergenceDisplay.from_result(trained[2])


def _refusing(package, error, real):
    def found(name, *arguments, **options):
        if name.partition(".")[0] == package:
            raise error
        return real(name, *arguments, **options)

    return found


def test_a_display_is_shown_as_a_picture_by_notebooks(trained):
    X, y, result = trained
    for display in (
        plots.CoefficientDisplay.from_model(result.model),
        plots.ConfusionDisplay.from_estimator(result, X, y),
        plots.ConvergenceDisplay.from_result(result),
        plots.DecisionDisplay.from_estimator(result, X, y),
        plots.PathDisplay.from_path(nbs.fit_path(X, y, l2s=[0.1, 1.0])),
        plots.ReliabilityDisplay.from_estimator(result, X, y),
    ):
        assert display._repr_png_().startswith(b"\x89PNG")
        assert repr(display) == f"{type(display).__name__}()"
    assert plots.ConfusionDisplay(np.eye(2, dtype=np.int64), ["a", "b"])._repr_png_() is None  # nothing is drawn yet
