"""Columns with any name in formulas: numbers, expressions, keywords of Python, names that Python normalizes."""

import numpy as np
import pandas as pd
import pytest

import nbsoftmax as nbs
from nbsoftmax.encoding import WrongFieldError
from nbsoftmax.encoding.formula.encoding import located

pytest.importorskip("formulaic")

ODD = ["1", "", "-1", "class", "a b", "log(z)", "\u00b5", "None", "x:y", "2.5", "."]


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    made = {name: rng.uniform(1, 2, 60) for name in ["x", "z", "\u03bc", *ODD]}
    return pd.DataFrame({**made, "g": rng.choice(list("uvw"), 60), "y": rng.choice(list("abc"), 60)})


def fitted(formula, frame, **options):
    return nbs.fit_formula(formula, frame, l2=0.1, **options).model


@pytest.mark.parametrize("name", ODD)
def test_a_name_in_backticks_is_the_column(name, table, tmp_path):
    renamed = table.rename(columns={name: "plain"})
    for formula in ("y ~ x + {}", "y ~ x:{} + g", "y ~ 0 + {}:g", "y ~ x + exp({})", "y ~ bs({}, 4) + {}"):
        model = fitted(formula.replace("{}", f"`{name}`"), table)
        expected = fitted(formula.replace("{}", "plain"), renamed)
        assert name in model.encoding.columns
        assert len(model.feature_names) == len(expected.feature_names)
        proba = model.predict_proba(table[:5])
        assert np.array_equal(proba, expected.predict_proba(renamed[:5]))
        model.save(tmp_path / "model.npz")
        assert np.array_equal(nbs.SoftmaxModel.load(tmp_path / "model.npz").predict_proba(table[:5]), proba)


@pytest.mark.parametrize("name", ODD)
def test_the_response_may_have_any_name(name, table):
    odd = table.drop(columns=name).rename(columns={"y": name})
    model = fitted(f"`{name}` ~ x + g", odd)
    assert np.array_equal(model.coef, fitted("y ~ x + g", table).coef)


def test_the_dot_reaches_columns_of_any_name(table):
    assert fitted("y ~ .", table).encoding.columns == tuple(table.columns[:-1])
    of_array = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 3))).assign(y=list("ab") * 15)
    assert fitted("y ~ .", of_array).feature_names == ("0", "1", "2")
    assert fitted("y ~ . - `1`", of_array).feature_names == ("0", "2")


def test_names_without_backticks_are_those_that_the_dot_reaches():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.normal(size=30) for name in ("x", "x.1", "class", "a_b.c")}).assign(
        y=list("ab") * 15
    )
    assert fitted("y ~ . - x.1", frame).feature_names == ("x", "class", "a_b.c")
    assert fitted("y ~ . - class", frame).feature_names == ("x", "x.1", "a_b.c")
    assert set(fitted("y ~ . + x.1", frame).feature_names) == {"x", "x.1", "class", "a_b.c"}
    odd = frame.rename(columns={"y": "class", "class": "y.1"})
    assert fitted("class ~ .", odd).feature_names == ("x", "x.1", "y.1", "a_b.c")
    assert fitted("`class` ~ . - x.1", odd).feature_names == ("x", "y.1", "a_b.c")


def test_aliases_are_no_columns_of_the_table(table):
    odd = table.rename(columns={"y": "my y", "x": "column0", "z": "column1", "g": "column_0"})
    names = tuple(name for name in odd.columns if name != "my y")
    assert fitted("`my y` ~ .", odd).encoding.columns == names
    assert fitted("`my y` ~ `a b` + .", odd).encoding.columns == ("a b", *(name for name in names if name != "a b"))
    assert "a b" not in fitted("`my y` ~ . - `a b`", odd).encoding.columns


@pytest.mark.parametrize("formula", ["y ~ log(z) + `log(z)`", "y ~ `log(z)` + log(z)", "y ~ . + log(z)"])
def test_a_column_with_the_name_of_a_term_is_refused_beside_it(formula, table):
    with pytest.raises(nbs.InputValueError, match=r"the column 'log\(z\)' and a term of this text"):
        fitted(formula, table)


def test_a_bare_name_that_python_changes_is_refused_in_an_expression(table):
    with pytest.raises(nbs.InputValueError, match="write the name in backticks"):
        fitted("y ~ exp(\u00b5)", table)
    assert fitted("y ~ \u00b5", table).encoding.columns == ("\u00b5",)
    assert fitted("y ~ exp(\u03bc)", table).encoding.columns == ("\u03bc",)


def test_categorical_must_name_a_column(table):
    with pytest.raises(nbs.InputValueError, match="categorical names 'kk', but the columns"):
        fitted("y ~ x", table, table=nbs.TableOptions(categorical=["kk"]))


def test_a_response_that_occurs_twice_is_refused(table):
    with pytest.raises(nbs.InputValueError, match="several columns named 'y'"):
        fitted("y ~ x", pd.concat([table, table[["y"]]], axis=1))
    with pytest.raises(nbs.InputValueError, match="several columns named 'y'"):
        fitted("y ~ x", table, validation_data=pd.concat([table, table[["y"]]], axis=1))


def test_dates_are_levels_in_C_and_refused_elsewhere(table):
    texts = table.assign(d=["2024-01-01", "2024-01-02", "2024-01-03"] * 20)
    dates = texts.assign(d=pd.to_datetime(texts.d))
    first, second = fitted("y ~ C(d)", texts), fitted("y ~ C(d)", dates)
    assert first.feature_names == second.feature_names == ("C(d)[T.2024-01-02]", "C(d)[T.2024-01-03]")
    assert np.array_equal(first.coef, second.coef)
    for frame in (texts, dates):
        with pytest.raises(nbs.InputTypeError, match="dates in column 'd', which formulas do not take"):
            fitted("y ~ d", frame)


def test_tables_that_leave_nothing_to_learn_are_named(table):
    with pytest.raises(nbs.InputValueError, match="makes no features of this table: columns of one level"):
        fitted("y ~ g", table.assign(g="u"))
    half = table.assign(x=np.where(np.arange(60) < 30, np.nan, 1.0), z=np.where(np.arange(60) < 30, 1.0, np.nan))
    with pytest.raises(nbs.InputValueError, match="every row of X has a missing value"):
        fitted("y ~ x + z", half, table=nbs.TableOptions(missing="drop"))


def test_a_formula_without_terms_says_where_its_log_likelihood_is(table):
    with pytest.raises(nbs.InputValueError, match="`log_likelihood_null` of the inference of any other"):
        fitted("y ~ 1", table)


def test_a_table_without_rows_has_no_predictions(table):
    model = fitted("y ~ x*g + z", table)
    assert model.predict_proba(table[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("offset(x)", "write offset= to fit_formula"),
        ("ns(x, 3)", "write cr"),
        ("factor(g)", r"write C\(x\)"),
        ("I(x^2)", "power in R; write"),
        ("as.factor(g)", r"the function 'as.factor' of R; write C\(x\)"),  # `as` and `is` are words of Python
        ("is.na(x)", "column of 0 and 1"),
        ("bs(x, knots=c(1, 2))", r"function 'c' of R; write a list, such as \[40, 50\]"),
        ("poly(x, 2, raw=TRUE)", "TRUE of R; write True"),
        ("(1|g)", "cov='cluster'"),
        ("x##g", r"write a:b for a#b of Stata"),
        ("x > 40", r"inside I\(\)"),
        ("x == 40", r"inside I\(\)"),
    ],
)
def test_formulas_of_other_languages_are_answered_with_what_to_write(term, message, table):
    with pytest.raises(nbs.InputValueError, match=message):
        fitted(f"y ~ x + {term}", table)


def test_a_function_around_the_classes_is_not_answered_with_another_one(table):
    with pytest.raises(nbs.InputValueError, match="expected the column of the classes without a function"):
        fitted("factor(y) ~ x", table)


@pytest.mark.parametrize("missing", [False, True])
def test_an_error_among_kept_rows_stays_what_it_was(missing):
    error = WrongFieldError.at("z", 1, "a missing value", "fill it in", missing=missing)
    with pytest.raises(WrongFieldError) as caught, located(np.array([True, False, True])):
        raise error
    found = caught.value
    assert (found.column, found.row, found.missing, found.has, found.advice) == (
        "z", 2, missing, "a missing value", "fill it in",
    )  # fmt: skip
