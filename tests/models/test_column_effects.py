"""Effects of the columns of a table, through all features that a formula makes of them."""

import warnings

import numpy as np
import pandas as pd
import pytest

import nbsoftmax as nbs
from nbsoftmax.encoding import encoding_of

FORMULA = "y ~ km * region + bs(age, 4) + has_car + log(income)"
NAMES = ("km", "region[north]", "region[west]", "has_car", "age", "income")  # as the terms are sorted


def survey(n=300, seed=0):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "km": rng.normal(size=n),
            "region": rng.choice(["east", "north", "west"], n),
            "age": rng.uniform(18, 80, n),
            "has_car": rng.random(n) < 0.4,
            "income": rng.gamma(3.0, 10.0, n),
        }
    )
    slope = table["km"] * (1 + (table["region"] == "north"))
    logits = np.stack([slope, np.sin(table["age"] / 10), np.log(table["income"]) / 2 - table["has_car"]], axis=1)
    return table.assign(y=np.array(["bike", "bus", "car"])[(logits + rng.gumbel(size=(n, 3))).argmax(axis=1)])


def expected(model, table, kind, weight, offset=None, h=1e-4):
    """The effects by differences of predictions, (6, 3)."""
    transform = np.log if kind.startswith("ey") else np.asarray

    def of(**changed):
        return transform(model.predict_proba(table.assign(**changed), offset=offset))

    def slope(name):
        x = table[name]
        low, high = np.maximum(x - h, x.min()), np.minimum(x + h, x.max())
        times = x if kind.endswith("ex") else 1.0 + 0 * x
        return (of(**{name: high}) - of(**{name: low})) / (high - low).to_numpy()[:, None] * times.to_numpy()[:, None]

    changes = [
        slope("km"),
        of(region="north") - of(region="east"),
        of(region="west") - of(region="east"),
        of(has_car=True) - of(has_car=False),
        slope("age"),
        slope("income"),
    ]
    return np.array([weight @ change for change in changes])


@pytest.fixture(scope="module")
def fitted():
    table = survey()
    return table, nbs.fit_formula(FORMULA, table, l2=0.0, tol=1e-12).inference()


@pytest.mark.parametrize("kind", ["dydx", "eyex", "dyex", "eydx"])
def test_the_effects_of_columns_are_differences_of_predictions(fitted, kind):
    table, inference = fitted
    found = inference.marginal_effects(table, kind=kind, columns=True)
    assert found.feature_names == NAMES
    assert found.binary.tolist() == [False, True, True, True, False, False]
    of_rows = expected(inference.model, table, kind, np.full(len(table), 1 / len(table)))
    np.testing.assert_allclose(found.effects, of_rows, rtol=1e-4, atol=1e-6)  # one-sided at the ends of the range


@pytest.mark.parametrize("kind", ["dydx", "eyex"])
def test_standard_errors_are_those_of_the_delta_method(fitted, kind):
    table, inference = fitted
    found = inference.marginal_effects(table, kind=kind, columns=True)
    free, n_names, h = inference.model.classes != inference.reference, len(inference.names), 1e-5
    weight = np.full(len(table), 1 / len(table))
    jacobian = []
    for k in np.flatnonzero(free):
        for j in range(n_names):
            ends = []
            for sign in (-1, 1):
                coef, intercept = inference.model.coef.copy(), inference.model.intercept.copy()
                if j < coef.shape[1]:
                    coef[k, j] += sign * h
                else:
                    intercept[k] += sign * h
                moved = nbs.SoftmaxModel(
                    coef,
                    intercept,
                    inference.model.classes,
                    inference.model.feature_names,
                    encoding=inference.model.encoding,
                )
                ends.append(expected(moved, table, kind, weight))
            jacobian.append((ends[1] - ends[0]) / (2 * h))
    J = np.array(jacobian)
    errors = np.sqrt(np.einsum("pjk,pq,qjk->jk", J, inference.covariance, J))
    np.testing.assert_allclose(found.std_errors, errors, rtol=1e-4)


def test_without_interactions_they_are_the_effects_of_features():
    table = survey()
    result = nbs.fit_formula("y ~ km + region + has_car", table, l2=0.0, tol=1e-12)
    for options in ({}, {"kind": "eydx"}, {"cov": "cluster", "groups": table["region"]}):
        ours, of_features = result.marginal_effects(table, columns=True, **options), result.marginal_effects(**options)
        np.testing.assert_allclose(ours.effects, of_features.effects, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(ours.std_errors, of_features.std_errors, rtol=1e-8)
    derivative = result.marginal_effects(table, columns=["has_car"], dummies=False)
    j = result.model.feature_names.index("has_car")
    slopes = result.marginal_effects(dummies=False)
    np.testing.assert_allclose(derivative.effects, slopes.effects[[j]], rtol=1e-8)


@pytest.mark.parametrize("kind", ["dydx", "eyex"])
def test_missing_numbers_have_the_slope_at_the_mean_that_replaces_them(kind):
    table = survey()
    table.loc[:99, "km"] = np.nan
    result = nbs.fit_formula("y ~ km + age", table, l2=0.0, table=nbs.TableOptions(missing="mean"))
    ours, of_features = result.marginal_effects(table, columns=True, kind=kind), result.marginal_effects(kind=kind)
    np.testing.assert_allclose(ours.effects, of_features.effects, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(ours.std_errors, of_features.std_errors, rtol=1e-8)


def test_the_change_from_one_level_to_another_has_the_offset_of_the_rows():
    table = survey()
    offset = np.random.default_rng(1).normal(size=(len(table), 3))
    inference = nbs.fit_formula("y ~ km + region", table, l2=0.0, tol=1e-12, offset=offset).inference()
    found = inference.marginal_effects(table, columns=["region"], offset=offset)
    of_features = inference.marginal_effects(table, offset=offset)
    rows = [j for j, name in enumerate(of_features.feature_names) if name.startswith("region")]
    np.testing.assert_allclose(found.effects, of_features.effects[rows], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.std_errors, of_features.std_errors[rows], rtol=1e-8)


def test_numbers_that_are_levels_too_change_as_levels():
    table = survey().assign(cyl=np.random.default_rng(2).choice([4, 6, 8], 300))
    result = nbs.fit_formula("y ~ C(cyl) * km + cyl:has_car", table, l2=0.0, tol=1e-12)
    found = result.marginal_effects(table, columns=["cyl"])
    assert found.feature_names == ("cyl[6]", "cyl[8]")
    at = {cyl: result.model.predict_proba(table.assign(cyl=cyl)).mean(axis=0) for cyl in (4, 6, 8)}
    np.testing.assert_allclose(found.effects, [at[6] - at[4], at[8] - at[4]], atol=1e-5)  # tol of the fit


def test_weights_and_offset_are_those_of_the_rows():
    table = survey(5000)
    rng = np.random.default_rng(1)
    weight, offset = rng.uniform(size=len(table)), rng.normal(size=(len(table), 3))
    result = nbs.fit_formula(FORMULA, table, l2=0.0, tol=1e-12, offset=offset)
    inference = result.inference()
    found = inference.marginal_effects(table, columns=["income", "km"], sample_weight=weight, offset=offset)
    assert found.feature_names == ("income", "km")
    of_rows = expected(inference.model, table, "dydx", weight / weight.sum(), offset)
    np.testing.assert_allclose(found.effects, of_rows[[5, 0]], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"columns": ["kms"]}, "columns has 'kms', expected True or distinct columns of the formula: 'km', 'region'"),
        ({"columns": []}, r"columns has \[\]"),
        ({"columns": True, "at": "overall"}, "columns needs the table"),
    ],
)
def test_wrong_columns_are_named(fitted, odd, message):
    table, inference = fitted
    with pytest.raises(nbs.InputValueError, match=message):
        inference.marginal_effects(**{"at": table, **odd})


def test_a_matrix_of_features_has_no_columns(fitted):
    table, inference = fitted
    with pytest.raises(nbs.InputTypeError, match="at is an ndarray, expected a table of pandas"):
        inference.marginal_effects(inference.model.encoding.encode(table).X, columns=True)


@pytest.mark.parametrize("odd", [None, 1, np.True_])
def test_columns_that_are_no_names_are_refused(fitted, odd):
    table, inference = fitted
    with pytest.raises(nbs.InputTypeError, match=f"columns is {odd}, expected True, False or names of columns: 'km'"):
        inference.marginal_effects(table, columns=odd)


def test_models_without_a_formula_are_refused():
    table = survey()
    result = nbs.Trainer(table=nbs.TableOptions(drop_first=True)).fit(table[["km", "region"]], table["y"])
    with pytest.raises(nbs.InputValueError, match="columns is for models with formulas"):
        result.marginal_effects(table, columns=True)


def test_effects_of_features_that_share_a_column_cause_a_warning(fitted):
    table, inference = fitted
    with pytest.warns(UserWarning, match=r"the columns 'km', 'region', 'age' are in several features"):
        of_features = inference.marginal_effects()
    of_columns = inference.marginal_effects(table, columns=["km"])
    assert (np.abs(of_features.effects[0] - of_columns.effects[0]) > 0.01).any()  # the interaction is not in the former
    simple = nbs.fit_formula("y ~ km + region + log(income)", table, l2=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simple.marginal_effects()


def test_the_fit_says_which_columns_are_only_0_and_1():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"x": rng.normal(size=400), "treated": rng.integers(0, 2, 400)})
    table["y"] = 1.5 * table.treated + table.x + rng.logistic(size=400) > 0
    inference = nbs.fit_formula("y ~ x + treated", table, l2=0.0).inference()
    treated = table[table.treated == 1]
    found = inference.marginal_effects(treated, columns=["treated"])
    without = inference.model.predict_proba(treated.assign(treated=0))
    np.testing.assert_allclose(found.effects[0], (inference.model.predict_proba(treated) - without).mean(axis=0))
    np.testing.assert_allclose(found.std_errors[0], inference.marginal_effects(treated).std_errors[1])
    two = pd.DataFrame({"x": [0.0, 1.0], "treated": [0, 1]})
    of_columns, of_features = inference.marginal_effects(two, columns=["x"]), inference.marginal_effects(two)
    assert not of_columns.binary[0]
    np.testing.assert_allclose(of_columns.effects[0], of_features.effects[0], rtol=1e-4)  # a difference, one-sided


@pytest.mark.parametrize("terms", ["age:smoker", "km:smoker + region", "age + I(age * smoker)"])
def test_the_training_says_which_columns_of_products_are_only_0_and_1(terms, tmp_path):
    table = survey().assign(smoker=np.arange(300) % 2, half=np.tile([0.0, 0.5, 1.0], 100))
    model = nbs.fit_formula(f"y ~ {terms}", table, l2=0.0).model
    model.save(tmp_path / "m.npz")
    model = nbs.SoftmaxModel.load(tmp_path / "m.npz")
    inference = nbs.inference(model, table, table.y)
    for part in (table, table[table.smoker == 1], table[table.smoker == 0][:1], table.assign(smoker=0.5)):
        found = inference.marginal_effects(part, columns=["smoker"])
        low, high = (model.predict_proba(part.assign(smoker=value)) for value in (0, 1))
        assert found.binary.all()
        np.testing.assert_allclose(found.effects[0], (high - low).mean(axis=0), rtol=1e-3, atol=1e-6)
    assert not inference.marginal_effects(part, columns=["smoker"], dummies=False).binary.any()
    inference = nbs.fit_formula(f"y ~ {terms}".replace("smoker", "half"), table, l2=0.0).inference()
    assert not inference.marginal_effects(table[table.half != 0.5], columns=["half"]).binary.any()


def test_models_that_do_not_know_which_columns_are_0_and_1_ask_the_table():
    table = survey().assign(smoker=np.arange(300) % 2)
    model = nbs.fit_formula("y ~ age:smoker", table, l2=0.0).model
    stored = model.encoding.to_dict()
    del stored["binary"]  # as saved by version 0.2
    model = nbs.SoftmaxModel(
        model.coef, model.intercept, model.classes, model.feature_names, encoding=encoding_of(stored)
    )
    inference = nbs.inference(model, table, table.y)
    assert inference.marginal_effects(table, columns=["smoker"]).binary.all()
    assert not inference.marginal_effects(table[table.smoker == 1], columns=["smoker"]).binary.any()


AGES = survey().assign(age=lambda table: table.age.round(), trips=np.arange(300) % 5)


@pytest.mark.parametrize(
    ("terms", "column"),
    [
        ("I(age > 40)", "age"),
        ("floor(age / 10)", "age"),
        ("age + I(age > 40)", "age"),
        ("sqrt(trips)", "trips"),
        ("km + I(trips ** 0.5)", "trips"),
        ("sign(trips - 2)", "trips"),
        ("I(trips == 2)", "trips"),
        ("km + trips + I(trips == 2)", "trips"),
    ],
)
def test_an_effect_at_a_jump_or_an_infinite_slope_is_refused_by_row(terms, column):
    inference = nbs.fit_formula(f"y ~ {terms}", AGES, l2=0.0).inference()
    with pytest.raises(nbs.InputValueError, match=f"effect of '{column}' has no finite value at row [0-9]+ "):
        inference.marginal_effects(AGES, columns=[column])
    away = AGES[(AGES.age % 10 != 0) & (AGES.trips % 5 != 0) & (AGES.trips != 2)]
    assert np.isfinite(inference.marginal_effects(away, columns=[column]).effects).all()


@pytest.mark.parametrize(
    "terms",
    ["bs(age, 4)", "bs(age, 4, degree=1)", "poly(age, 3)", "sqrt(age)", "I(1 / age)", "abs(age - 40)", "bs(age, 9)"],
)
def test_ends_of_splines_and_kinks_have_effects(terms):
    inference = nbs.fit_formula(f"y ~ {terms}", AGES, l2=0.0).inference()
    assert np.isfinite(inference.marginal_effects(AGES, columns=["age"]).effects).all()


@pytest.mark.parametrize(
    "terms", ["log(p)", "sqrt(p)", "log1p(p)", "I(1 / p)", "I(p / 1e4) + log(p)", "I(km / p) + log(p)"]
)
def test_columns_of_a_skewed_range_have_effects(terms):
    table = survey().assign(p=1e4 * np.random.default_rng(0).exponential(size=300))
    inference = nbs.fit_formula(f"y ~ {terms}", table, l2=0.0).inference()
    found = inference.marginal_effects(table, columns=["p"], kind="dyex")
    h = 1e-6  # relative
    up, down = (inference.model.predict_proba(table.assign(p=table.p * (1 + sign * h))) for sign in (1, -1))
    np.testing.assert_allclose(found.effects[0], ((up - down) / (2 * h)).mean(axis=0), rtol=1e-3, atol=1e-6)


def test_a_stationary_point_of_a_cubic_has_an_effect():
    table = survey()
    inference = nbs.fit_formula("y ~ km + I(km ** 3)", table, l2=0.0).inference()
    at_0 = table.assign(km=0.0)[:1]
    assert np.isfinite(inference.marginal_effects(at_0, columns=["km"]).effects).all()


def slope(model, table, name, low, high):
    """The mean effect of a column by differences of predictions, from `low` to `high` beside each value."""
    below, above = (model.predict_proba(table.assign(**{name: table[name] + step})) for step in (low, high))
    return ((above - below) / np.subtract(high, low).to_numpy()[:, None]).mean(axis=0)


@pytest.mark.parametrize("rows", [slice(None), *(slice(i, i + 1) for i in range(6))])
@pytest.mark.parametrize("term", ["log(dose)", "sqrt(dose)", "log1p(dose * 1e7)"])
def test_effects_of_values_of_any_size_are_right(term, rows):
    doses = np.append([1e-9, 1e-7, 1e-5, 2e-5, 1e-3, 1.0], 10 ** np.random.default_rng(0).uniform(-9, -2, 294))
    table = survey().assign(dose=doses)
    result = nbs.fit_formula(f"y ~ {term} * has_car", table, tol=1e-13)
    found = result.marginal_effects(table[rows], columns=["dose"]).effects[0]
    step = 1e-4 * table[rows].dose
    expected = slope(result.model, table[rows], "dose", -step, step)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("term", ["bs(age, 4)", "bs(age, 3, degree=2)"])
@pytest.mark.parametrize("end", [18.0, 80.0])
def test_a_table_with_one_value_at_an_end_of_a_spline_has_an_effect(term, end):
    table = survey()
    table.loc[[0, 1], "age"] = 18.0, 80.0
    result = nbs.fit_formula(f"y ~ {term}", table, tol=1e-13)
    one = table[:1].assign(age=end)
    found = result.marginal_effects(one, columns=["age"]).effects[0]
    step = pd.Series([1e-5], index=one.index)
    low, high = (0 * step, step) if end == 18.0 else (-step, 0 * step)
    np.testing.assert_allclose(found, slope(result.model, one, "age", low, high), rtol=1e-4)
