"""Formulas: their matrices beside those of formulaic, patsy and statsmodels, and the models that hold them."""

import json
import re
import warnings
from dataclasses import replace

import formulaic
import numpy as np
import pandas as pd
import patsy
import polars as pl
import pyarrow as pa
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

import nbsoftmax as nbs
from nbsoftmax.encoding import Formula, FormulaEncoding
from tests.encoding.frames import dense

N = 150
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "y": RNG.choice(["a", "b", "c"], N),
        "x": RNG.normal(size=N),
        "z": RNG.uniform(1, 5, N),
        "island": RNG.choice(["Biscoe", "Dream", "Torgersen"], N),
        "sex": RNG.choice(["f", "m"], N),
        "cyl": RNG.choice([4, 6, 8], N),
        "wild": RNG.random(N) < 0.5,
        "bill length": RNG.normal(size=N),
        "w.t": RNG.normal(size=N),
    }
)
TABLES = {"pandas": FRAME, "polars": pl.from_pandas(FRAME), "arrow": pa.Table.from_pandas(FRAME)}
TERMS = [
    "x",
    "z",
    "island",
    "sex",
    "wild",
    "`bill length`",
    "w.t",
    "log(z)",
    "np.sqrt(z)",
    "I(x**2)",
    "I(x > 0)",
    "{x + z}",
    "I(-x / z)",
    "2:x",
    "center(x)",
    "scale(z)",
    "standardize(x)",
    "scale(center(x) * `bill length` * `bill length`)",
    "bs(x, 4)",
    "bs(z, df=6, degree=2)",
    "bs(x, 5, include_intercept=True)",
    "bs(x, knots=[-0.5, 0.5], lower_bound=-9, upper_bound=9)",
    "cr(x, 4)",
    "cs(z, df=3)",
    "cc(x, 4)",
    "poly(x, 3)",
    "poly(z, 2, raw=True)",
    "C(cyl)",
    "C(island, Treatment('Dream'))",
    "C(sex, Sum)",
    "C(cyl, contr.helmert)",
    "C(island, Diff)",
    "C(cyl, Poly)",
    "C(cyl, Treatment('6'))",
]


def encoding_of(text, frame=FRAME, **options):
    return Formula.of(text, list(frame.columns), nbs.TableOptions(**options)).learned(frame)


def by_formulaic(text):
    """The columns of formulaic, without the intercept; its levels of numbers are text, as ours are."""
    codes = FRAME.assign(cyl=FRAME["cyl"].astype(str))
    made = formulaic.model_matrix(text, codes).rhs
    names = tuple(name for name in made.columns if name != "Intercept")
    return names, made[list(names)].to_numpy(float), "Intercept" in made.columns


@st.composite
def formulas(draw):
    """Formulas of some terms, of which some are multiplied."""
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        factors = draw(st.lists(st.sampled_from(TERMS), min_size=1, max_size=3, unique=True))
        scaled = [factor for factor in factors if factor.startswith("2:")]
        parts.append(draw(st.sampled_from(["*", ":", "+"])).join(factors) if not scaled else " + ".join(factors))
    return "y ~ " + draw(st.sampled_from(["", "0 + "])) + " + ".join(dict.fromkeys(parts))


@settings(max_examples=60, deadline=None)
@given(formulas(), st.sampled_from(sorted(TABLES)))
def test_a_formula_makes_the_columns_of_formulaic_in_every_library(text, library):
    try:
        names, X, intercept = by_formulaic(text)
    except Exception as error:
        assert "different numerical scaling" in str(error)
        return
    formula = Formula.of(text, list(FRAME.columns))
    encoding = formula.learned(TABLES[library])
    assert encoding.names == names
    assert formula.intercept == intercept
    found = dense(encoding.encode(TABLES[library]).X)
    # Products in another order differ by a few units in the last place; splines and polynomials are formulaic's own.
    np.testing.assert_allclose(found, X, rtol=1e-13, atol=1e-13 * np.abs(X).max())


@settings(max_examples=40, deadline=None)
@given(formulas(), st.integers(0, N - 1), st.integers(1, 5))
def test_a_row_has_the_features_that_it_has_in_the_training(text, first, n):
    try:
        encoding = encoding_of(text)
    except nbs.InputValueError as error:
        assert "different numerical scaling" in str(error)
        return
    whole = dense(encoding.encode(FRAME).X)
    stored = FormulaEncoding.from_dict(json.loads(json.dumps(encoding.to_dict())))
    assert np.array_equal(dense(stored.encode(FRAME).X), whole)
    assert stored.to_dict() == encoding.to_dict()
    some = dense(stored.encode(FRAME.iloc[first : first + n]).X)
    # BLAS multiplies matrices of another shape with other last bits, in natural splines.
    np.testing.assert_allclose(some, whole[first : first + n], rtol=1e-12, atol=1e-12 * np.abs(whole).max())


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("x %in% island", "island:x"),
        ("island + x %in% island", "island / x"),
        ("(x + z) %in% island", "island:x + island:z"),
        ("x %in% (island + sex)", "island:sex:x"),
        ("z + x %in% sex %in% island", "z + island:sex:x"),
        ("z * x %in% island", "z + island:x + z:island:x"),  # R: %in% binds before * and /
        ("z / x %in% island", "z + z:island:x"),
        ("x * island - x %in% island", "x + island"),
        ("log(z) %in% C(cyl)", "C(cyl):log(z)"),
    ],
)
def test_in_is_a_product_as_in_r(text, same):
    found, expected = encoding_of(f"y ~ {text}"), encoding_of(f"y ~ {same}")
    assert found.names == expected.names
    assert np.array_equal(dense(found.encode(FRAME).X), dense(expected.encode(FRAME).X))


@pytest.mark.parametrize("text", ["y ~ x * island + np.log(z)", "y ~ C(cyl) + sex:x", "y ~ bs(x, 5) + center(z) * sex"])
def test_estimates_without_penalty_are_those_of_statsmodels_with_the_design_of_patsy(text):
    result = nbs.fit_formula(text, FRAME, l2=0.0, tol=1e-10)
    X = patsy.dmatrix(text.split("~")[1], FRAME, return_type="dataframe")
    expected = sm.MNLogit(FRAME["y"], X).fit(disp=0, method="newton", maxiter=100, tol=1e-12)
    found = nbs.inference(result.model, FRAME, FRAME["y"])
    assert result.model.n_features == X.shape[1] - 1
    np.testing.assert_allclose(found.log_likelihood, expected.llf, rtol=1e-9)
    # patsy counts the columns of a spline from 0, and formulaic from 1.
    names = [re.sub(r"(bs\(.*\))\[(\d)\]", lambda m: f"{m[1]}[{int(m[2]) + 1}]", name) for name in X.columns]
    order = [names.index(name.replace("const", "Intercept")) for name in found.names]
    np.testing.assert_allclose(found.params, expected.params.to_numpy().T[:, order], atol=1e-5)
    np.testing.assert_allclose(found.standard_errors, expected.bse.to_numpy().T[:, order], rtol=1e-4)


def test_a_saved_model_predicts_the_same_bits_from_every_library(tmp_path):
    text = "y ~ 0 + bs(x, 4) * island + poly(z, 2) + center(`bill length`) + C(cyl, Sum)"
    model = nbs.fit_formula(text, FRAME, l2=0.01).model
    assert np.array_equal(model.intercept, np.zeros(3))
    model.save(tmp_path / "m.npz")
    loaded = nbs.SoftmaxModel.load(tmp_path / "m.npz")
    expected = model.predict_proba(FRAME)
    for table in TABLES.values():
        assert np.array_equal(loaded.predict_proba(table), expected)
        assert np.array_equal(nbs.fit_formula(text, table, l2=0.01).model.coef, model.coef)
    shuffled = FRAME[list(reversed(FRAME.columns))]
    assert np.array_equal(loaded.predict_proba(shuffled), expected)
    assert loaded.score(FRAME, FRAME["y"]) == model.score(FRAME, FRAME["y"])
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        assert json.loads(str(file["encoding"]))["formula"] == text


def test_the_fit_is_that_of_the_trainer_with_the_matrix():
    encoding = encoding_of("y ~ x * island")
    expected = nbs.Trainer(l2=0.01).fit(encoding.encode(FRAME).X, FRAME["y"])
    weight = RNG.random(N)
    found = nbs.fit_formula("y ~ x * island", FRAME, l2=0.01, validation_data=FRAME)
    assert np.array_equal(found.model.coef, expected.model.coef)
    assert found.history["validation_loss"].size
    weighted = nbs.fit_formula("y ~ x * island", FRAME, l2=0.01, sample_weight=weight)
    again = nbs.Trainer(l2=0.01, table=encoding).fit(FRAME, FRAME["y"], sample_weight=weight)
    assert np.array_equal(weighted.model.coef, again.model.coef)


def test_a_reference_level_may_be_written_as_a_number():
    found = encoding_of("y ~ C(cyl, Treatment(6))")
    assert found.names == ("C(cyl, Treatment(6))[T.4]", "C(cyl, Treatment(6))[T.8]")
    assert np.array_equal(found.encode(FRAME).X, encoding_of("y ~ C(cyl, contr.treatment('6'))").encode(FRAME).X)


def test_the_dot_is_all_other_columns():
    numbers = FRAME[["y", "x", "z", "sex"]]
    assert encoding_of("y ~ .", numbers).names == ("x", "z", "sex[T.m]")
    assert encoding_of("y ~ . - z", numbers).names == ("x", "sex[T.m]")


@pytest.mark.parametrize("ordered", [False, True])
def test_the_order_of_a_categorical_is_that_of_its_levels(ordered):
    sizes = pd.Categorical(RNG.choice(["small", "big"], N), categories=["small", "never", "big"], ordered=ordered)
    frame = FRAME.assign(size=sizes)
    assert encoding_of("y ~ size", frame).names == ("size[T.big]",)
    assert encoding_of("y ~ size - 1", frame).names == ("size[small]", "size[big]")
    assert encoding_of("y ~ C(size)", frame).names == ("C(size)[T.big]",)
    of_formulaic = formulaic.model_matrix("size", FRAME.assign(size=sizes.remove_unused_categories()))
    assert list(of_formulaic.columns) == ["Intercept", "size[T.big]"]


def test_unknown_levels_are_zero_in_all_their_features_with_one_warning():
    model = nbs.fit_formula("y ~ x * island + C(cyl, Sum)", FRAME, l2=0.01).model
    strange = FRAME.head(4).assign(island=["Biscoe", "Mars", "Mars", "Dream"], cyl=[4, 6, 5, 8])
    found = model.encoding.encode(strange)
    assert found.unknown == {"island": (2, ("Mars",)), "cyl": (1, ("5",))}
    by_name = dict(zip(model.feature_names, dense(found.X).T.tolist(), strict=True))
    for name, column in by_name.items():
        if "island" in name:
            assert column[1] == column[2] == 0
        if "cyl" in name:
            assert column[2] == 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.predict(strange)
    assert [w.category for w in caught] == [nbs.UnknownLevelsWarning]
    assert "'island' in 2 rows ('Mars'); 'cyl' in 1 row ('5')" in str(caught[0].message)


def test_missing_values_are_refused_dropped_or_imputed():
    text = "y ~ bs(x, 4) * island"
    holed = FRAME.assign(
        x=FRAME["x"].where(RNG.random(N) < 0.9), island=FRAME["island"].where(RNG.random(N) < 0.9, None)
    )
    with pytest.raises(nbs.InputValueError, match="X has a missing value in column"):
        nbs.fit_formula(text, holed)
    whole = holed.dropna()
    with pytest.warns(UserWarning, match=f"{N - len(whole)} of {N} rows"):
        dropped = nbs.fit_formula(text, holed, l2=0.01, table=nbs.TableOptions(missing="drop")).model
    assert np.array_equal(dropped.coef, nbs.fit_formula(text, whole, l2=0.01).model.coef)
    with pytest.raises(nbs.InputValueError, match="fit with missing='mean'"):
        dropped.predict(holed)
    imputed = nbs.fit_formula(text, holed, l2=0.01, table=nbs.TableOptions(missing="mean")).model
    means = holed.assign(x=holed["x"].fillna(holed["x"].mean()))
    known = means["island"].notna()
    expected = imputed.predict_proba(means[known])
    # The two means of x may differ in the last bit.
    np.testing.assert_allclose(imputed.predict_proba(holed)[known], expected, rtol=1e-12)


def test_states_of_dropped_rows_are_not_learned():
    frame = FRAME.assign(x=FRAME["x"].where(FRAME.index != 3, 1000.0), z=FRAME["z"].where(FRAME.index != 3))
    encoding = encoding_of("y ~ bs(x, 4) + z", frame, missing="drop")
    assert encoding.states["bs(x, 4)"][0]["upper_bound"] == FRAME["x"].drop(3).max()


def test_values_outside_of_a_spline_are_refused_unless_the_formula_extrapolates():
    far = FRAME.head(3).assign(x=[0.0, 99.0, 0.0])
    with pytest.raises(nbs.InputValueError, match=r"99.0 in column 'x' at row 1 .*'bs\(x, 4\)' is defined from"):
        encoding_of("y ~ bs(x, 4)").encode(far)
    clipped = encoding_of("y ~ bs(x, 4, extrapolation='clip')").encode(far).X
    at_the_end = encoding_of("y ~ bs(x, 4)").encode(far.assign(x=[0.0, FRAME["x"].max(), 0.0])).X
    assert np.array_equal(clipped, at_the_end)
    wide = encoding_of("y ~ bs(x, 4, lower_bound=-100, upper_bound=100)").encode(far).X
    assert np.isfinite(wide).all()


def test_terms_that_are_not_finite_are_refused_by_row_and_value():
    with pytest.raises(nbs.InputValueError, match=r"X has -1.0 in column 'x' at row 2 .*; 'log\(x\)' is not a finite"):
        encoding_of("y ~ log(x)", FRAME.assign(x=np.r_[1.0, 2.0, -1.0, np.ones(N - 3)]))
    frame = FRAME.assign(x=np.r_[1.0, 2.0, -1.0, np.ones(N - 3)], z=FRAME["z"].where(FRAME.index != 0))
    with pytest.raises(nbs.InputValueError, match="at row 2 "):  # not row 1, of the rows that are kept
        encoding_of("y ~ log(x) + z", frame, missing="drop")


def test_many_levels_make_a_sparse_matrix():
    frame = pd.DataFrame({"y": RNG.choice(["a", "b"], 3000), "x": RNG.normal(size=3000), "who": np.arange(3000) % 1000})
    encoding = encoding_of("y ~ x + C(who)", frame)
    X = encoding.encode(frame).X
    assert X.format == "csr"
    assert X.has_canonical_format
    assert np.array_equal(X.toarray(), encoding.encode(frame, dense=True).X)
    assert np.array_equal(X.toarray(), replace(encoding, sparse=False).encode(frame).X)
    model = nbs.fit_formula("y ~ x + C(who)", frame, l2=0.1).model
    assert np.array_equal(model.predict_proba(frame.iloc[[7]])[0], model.predict_proba(frame)[7])


def test_the_features_of_a_column_are_those_of_this_column_alone():
    encoding = encoding_of("y ~ bs(x, 4) * sex + I(x * z)")
    assert encoding.features_of("sex") == ("sex[T.m]",)
    assert encoding.features_of("x") == tuple(f"bs(x, 4)[{j}]" for j in range(1, 5))
    assert encoding.features_of("z") == ()


def test_the_description_begins_with_the_formula():
    lines = encoding_of("y ~ x + island").describe()
    assert lines == ["formula: y ~ x + island", "x: number", "island: 3 levels: 'Biscoe', 'Dream', 'Torgersen'"]


def test_rows_that_are_not_a_table_in_memory_are_refused():
    source = nbs.data.from_batches(lambda: iter([(FRAME[["x", "z"]].to_numpy(), FRAME["y"].to_numpy())]))
    for rows in (source, FRAME[["x"]].to_numpy()):
        with pytest.raises(nbs.InputTypeError, match="in memory, because a formula learns from all rows at once"):
            nbs.fit_formula("y ~ x", rows)


def test_onnx_is_refused_with_a_way_out(tmp_path):
    model = nbs.fit_formula("y ~ x + sex", FRAME, l2=0.1).model
    with pytest.raises(nbs.InputValueError, match="kind 'formula', which cannot be written as ONNX"):
        model.to_onnx(tmp_path / "m.onnx")
    replace(model, encoding=None).to_onnx(tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"fit_intercept": True}, "fit_intercept is decided by the formula"),
        ({"table": nbs.TableOptions(drop_first=True)}, "drop_first is for tables without a formula"),
        ({"validation_data": FRAME[["x"]]}, "expected a table with the columns of the formula and the column 'y'"),
    ],
)
def test_options_that_contradict_the_formula_are_refused(options, expected):
    with pytest.raises((nbs.InputValueError, nbs.InputTypeError), match=expected):
        nbs.fit_formula("y ~ x", FRAME, **options)
