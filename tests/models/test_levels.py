"""Effects and tests of the levels of one column of a table."""

import numpy as np
import pandas as pd
import pytest

import nbsoftmax as nbs
from nbsoftmax.encoding import encoding_of
from tests.models.test_marginal_effects import KINDS, assert_effects, by_complex_steps


def with_a_factor(n=400, missing="drop"):
    rng = np.random.default_rng(3)
    region = rng.choice(["east", "north", "south", "west"], n)
    table = pd.DataFrame({"km": rng.normal(size=n), "region": region, "has_car": rng.random(n) < 0.4})
    logits = np.stack([table["km"], 2.0 * (region == "north"), 1.0 * table["has_car"] - (region == "west")], axis=1)
    y = (logits + rng.gumbel(size=(n, 3))).argmax(axis=1)
    options = nbs.TableOptions(drop_first=True, missing=missing, indicators=missing == "mean")
    return table, y, nbs.Trainer(tol=1e-12, table=options)


def test_the_effect_of_a_level_is_the_change_from_the_reference_level_in_every_row():
    table, y, trainer = with_a_factor()
    result = trainer.fit(table, y)
    effects = result.marginal_effects()
    base = result.model.predict_proba(table.assign(region="east")).mean(axis=0)
    for level in ("north", "south", "west"):
        change = result.model.predict_proba(table.assign(region=level)).mean(axis=0) - base
        j = result.model.feature_names.index(f"region[{level}]")
        np.testing.assert_allclose(
            effects.effects[j], change, atol=1e-5
        )  # tol of the fit; inference goes on to the maximum
    at_mean = result.marginal_effects("mean").effects[j]
    one = pd.DataFrame({"km": [table["km"].mean()], "has_car": [table["has_car"].mean()], "region": ["west"]})
    change = np.subtract(*(result.model.predict_proba(one.assign(region=level))[0] for level in ("west", "east")))
    np.testing.assert_allclose(at_mean, change, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", ["drop", "mean"])
def test_levels_of_one_column_have_the_standard_errors_of_the_delta_method(kind, missing):
    table, y, trainer = with_a_factor(missing=missing)
    if missing == "mean":  # the indicator of the column is one more level
        table.loc[::7, "region"] = None
    result = trainer.fit(table, y)
    names = result.model.feature_names
    levels = [j for j, name in enumerate(names) if "region" in name]
    assert len(levels) == (4 if missing == "mean" else 3)
    X = result.model.encoding.encode(table, dense=True).X
    inference = result.inference()
    binary = [*levels, names.index("has_car")]
    assert inference.binary.tolist() == [j in binary for j in range(len(names))]
    # has_car has no other levels: its effect is computed apart.
    effects, errors = by_complex_steps(inference, X, kind, binary=levels, others=levels)
    of_car = by_complex_steps(inference, X, kind, binary=[names.index("has_car")])
    for values, apart in zip((effects, errors), of_car, strict=True):
        values[names.index("has_car")] = apart[names.index("has_car")]
    assert_effects(inference.marginal_effects(kind=kind), effects, errors)


def test_two_steps_of_one_column_are_not_levels_of_which_a_row_has_one():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=400), "code": rng.integers(1, 4, 400)})
    steps = np.column_stack([table["x"] > 0, table["x"] > 1]).astype(float)
    y = (steps @ [1.5, -2.5] + rng.logistic(size=400) > 0).astype(int)
    with pytest.warns(UserWarning, match="the effect of each feature leaves the others as they are"):
        found = nbs.fit_formula("y ~ I(x > 0) + I(x > 1)", table.assign(y=y)).marginal_effects()
    apart = nbs.Trainer().fit(steps, y).marginal_effects()
    np.testing.assert_allclose(found.effects, apart.effects, rtol=1e-9)
    np.testing.assert_allclose(found.std_errors, apart.std_errors, rtol=1e-9)
    # Levels of numbers are still levels where the column is a number in another term.
    with pytest.warns(UserWarning, match="'code', 'x' are in several features"):
        both = nbs.fit_formula("y ~ C(code) + code:x + I(x > 0) + I(x > 1)", table.assign(y=y))
        both.marginal_effects()
    assert both.model.encoding.levels_of("code") == ("C(code)[T.2]", "C(code)[T.3]")
    assert both.model.encoding.levels_of("x") == ()


def test_a_column_of_the_table_stands_for_all_of_its_levels_in_a_wald_test():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"km": rng.normal(size=300), "region": rng.choice(["east", "north", "west"], 300)})
    y = (table["km"].to_numpy()[:, None] * [0, 1, -1] + rng.gumbel(size=(300, 3))).argmax(axis=1)
    found = nbs.Trainer(table=nbs.TableOptions(drop_first=True)).fit(table, y).inference()
    levels = found.wald_test(["region[north]", "region[west]"])
    assert levels.df == 4
    assert found.wald_test("region").statistic == levels.statistic
    assert found.wald_test(["region", "km"]).df == 6
    assert found.wald_test(["region", "region[west]"]) == levels
    with pytest.raises(nbs.InputValueError, match="without repetition"):
        found.wald_test(["region", "region"])
    with pytest.raises(nbs.InputValueError, match="those of the table 'km', 'region'"):
        found.wald_test("city")
    for given in (True, np.True_, [0, False]):  # a bool is an int in Python
        with pytest.raises(nbs.InputValueError, match=f"{bool(np.ravel(given)[-1])} is not the name or number"):
            found.wald_test(given)


def test_collinear_levels_are_refused_with_the_option_that_leaves_one_out():
    table = pd.DataFrame({"region": ["east", "north", "west"] * 20, "km": np.arange(60) % 7})
    y = np.arange(60) % 4 // 2
    firth = nbs.Trainer(penalty="firth")
    advice = r"'region\[west\]', 'const' are collinear.*drop_first=True"
    with pytest.raises(nbs.InputValueError, match=advice):
        firth.fit(table, y)
    with pytest.raises(nbs.InputValueError, match=advice):
        nbs.Trainer().fit(table, y).inference()
    doubled = table.assign(miles=2 * table["km"])
    with pytest.raises(nbs.InputValueError, match="leave one of their terms out of the formula") as caught:
        nbs.fit_formula("y ~ km + miles + region", doubled.assign(y=y), penalty="firth")
    assert "drop_first" not in str(caught.value)  # a formula has left it out


@pytest.mark.parametrize("term", ["region:sex", "sex:region", "bs(km, 4)", "km:I(km > 0)"])
def test_a_term_of_a_formula_stands_for_all_of_its_features_in_a_wald_test(term):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"region": rng.choice(list("enw"), 400), "sex": rng.choice(list("fm"), 400)})
    table["km"] = rng.normal(size=400)
    table["y"] = rng.integers(0, 3, 400)
    found = nbs.fit_formula("y ~ region * sex + bs(km, 4) + km:I(km > 0)", table, l2=0.0).inference()
    parts = [part.strip() for part in term.split(":")]
    names = [
        name
        for name in found.names
        if name.count(":") == len(parts) - 1 and all(name.count(part) == term.count(part) for part in parts)
    ]
    assert len(names) == {"region:sex": 2, "sex:region": 2, "bs(km, 4)": 4, "km:I(km > 0)": 1}[term]
    assert found.wald_test(term) == found.wald_test(names)
    with pytest.raises(nbs.InputValueError, match="and the terms of the formula 'region', 'sex', "):
        found.wald_test("region:km")


@pytest.mark.parametrize(
    ("formula", "term", "n"), [("y ~ region:sex", "sex:region", 5), ("y ~ km:region:sex", "km:sex:region", 6)]
)
def test_a_term_stands_for_the_features_of_lower_order_that_it_makes(formula, term, n, tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"region": rng.choice(list("enw"), 400), "sex": rng.choice(list("fm"), 400)})
    table = table.assign(km=rng.normal(size=400), y=rng.integers(0, 2, 400))
    nbs.fit_formula(formula, table, l2=0.0).model.save(tmp_path / "m.npz")
    found = nbs.inference(nbs.SoftmaxModel.load(tmp_path / "m.npz"), table, table["y"])
    assert found.wald_test(term).df == n == found.df_model  # the only term
    assert found.wald_test(term) == found.wald_test(range(n))


@pytest.mark.parametrize("term", ["bs(age,4)", 'C(sex,Treatment("m")) : km', "I(km**2)"])
def test_a_term_may_have_other_spaces_and_quotes_than_the_names(term):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(400, 2)), columns=["km", "age"])
    table = table.assign(sex=rng.choice(list("fm"), 400), y=rng.integers(0, 2, 400))
    found = nbs.fit_formula("y ~ bs(age,4) + I(km**2) + km:C(sex,Treatment('m'))", table, l2=0.0).inference()
    assert found.wald_test(term).df == {"b": 4, "C": 2, "I": 1}[term[0]]


def test_models_that_do_not_know_their_terms_have_those_of_their_factors():
    table = pd.DataFrame({"region": list("enw") * 100, "sex": list("fffmm") * 60, "y": [0, 1] * 150})
    encoding = nbs.fit_formula("y ~ region:sex", table).model.encoding
    stored = encoding.to_dict()
    for product in stored["products"]:
        del product["term"]  # as saved by version 0.2
    assert {term: len(names) for term, names in encoding.terms.items()} == {"region:sex": 5}
    assert {term: len(names) for term, names in encoding_of(stored).terms.items()} == {"sex": 1, "region:sex": 4}
