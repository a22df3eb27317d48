"""Derivatives of the features of a formula are those of hand-written formulas, for values of any size."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from nbsoftmax.encoding import Formula

RNG = np.random.default_rng(0)
VALUES = {
    "of any size": 10.0 ** RNG.uniform(-9, 2.5, 60),
    "tiny": 1e-12 * RNG.uniform(0.1, 1.0, 60),
    "far from 0": 1e8 + RNG.uniform(0.0, 1.0, 60),
    "one": np.full(3, 1e-8),
}


def slopes(term, x, at=None):
    """Of the features of one term, learned from the column x, at other values."""
    table = pd.DataFrame({"x": x, "y": "a"})
    encoding = Formula.of(f"y ~ {term}", ["x", "y"]).learned(table)
    return encoding.slopes(table if at is None else pd.DataFrame({"x": np.asarray(at, float)}), "x")


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize(
    ("term", "derivative"),
    [
        ("log(x)", lambda x: 1 / x),
        ("I(1e6 + log10(x))", lambda x: 1 / (x * np.log(10))),
        ("I(1 / x)", lambda x: -1 / x**2),
        ("I(x ** -2)", lambda x: -2 / x**3),
        ("I(x ** 0.1)", lambda x: 0.1 * x**-0.9),
        ("sqrt(x)", lambda x: 0.5 / np.sqrt(x)),
        ("I(x * sqrt(x))", lambda x: 1.5 * np.sqrt(x)),
        ("I(log(x) ** 2 - log2(x) / x)", lambda x: 2 * np.log(x) / x + (np.log(x) - 1) / (x * x * np.log(2))),
        ("exp(-x)", lambda x: -np.exp(-x)),
        ("exp2(-x)", lambda x: -np.log(2) * np.exp2(-x)),
        ("I(2 ** -x)", lambda x: -np.log(2) * np.exp2(-x)),
        ("cos(x)", lambda x: -np.sin(x)),
        ("tan(sin(x))", lambda x: np.cos(x) / np.cos(np.sin(x)) ** 2),
        ("log1p(x) + expm1(-x)", lambda x: [1 / (1 + x), -np.exp(-x)]),
        ("arctan(x) + arcsinh(x)", lambda x: [1 / (1 + x**2), 1 / np.hypot(1, x)]),
        ("tanh(x)", lambda x: 1 / np.cosh(np.minimum(x, 300)) ** 2),
        ("abs(x - 0.25)", lambda x: np.sign(x - 0.25)),
        ("I((x - 0.25) * (x > 0.25))", lambda x: 1.0 * (x > 0.25)),
        ("x:log(x)", lambda x: np.log(x) + 1),
    ],
)
def test_slopes_are_exact_for_values_of_any_size(term, derivative, values):
    x = VALUES[values]
    expected = derivative(x)
    expected = np.column_stack(expected if isinstance(expected, list) else [expected])
    np.testing.assert_allclose(slopes(term, x), expected, rtol=1e-12, atol=1e-250)


def test_means_and_scales_are_those_of_the_training():
    x = VALUES["of any size"]
    found = slopes("scale(x) + center(log(x)):x", x)
    by_hand = [0 * x + 1 / x.std(ddof=1), 1 + np.log(x) - np.log(x).mean()]
    np.testing.assert_allclose(found, np.transpose(by_hand), rtol=1e-12)
    np.testing.assert_allclose(slopes("scale(x) + center(log(x)):x", x, x[:1]), found[:1])


BASES = ["bs(x, 4)", "bs(x, 9, degree=2)", "bs(x, 3, degree=1)", "bs(log(x), 6)", "cr(x, 6)", "cc(x, 5)", "poly(x, 4)"]
BASES += ["poly(x, 3, raw=True)", "bs(x, 4):cr(x, 3)"]
BOUNDED = ['bs(x, 4, lower_bound=0.1, upper_bound=0.9, extrapolation="extend")']
BOUNDED += ['cr(x, 4, lower_bound=0.1, upper_bound=0.9, extrapolation="clip")']
BOUNDED += ['cc(x, 5, lower_bound=0.1, upper_bound=0.9, constraints="center")']


@pytest.mark.parametrize(("term", "scale"), [*product(BASES, [1e-9, 1.0, 1e9]), *product(BOUNDED, [1.0])])
def test_slopes_of_bases_are_differences_within_intervals_of_knots(term, scale):
    x = scale * np.exp(RNG.normal(size=300))
    encoding = Formula.of(f"y ~ {term}", ["x", "y"]).learned(pd.DataFrame({"x": x, "y": "a"}))
    at = np.quantile(x, [0.03, 0.21, 0.37, 0.61, 0.79, 0.93])
    h = 1e-5 * at
    f = [encoding.encode(pd.DataFrame({"x": at + j * h}), dense=True).X for j in (-1, 1)]
    expected = (f[1] - f[0]) / (2 * h[:, None])
    found = encoding.slopes(pd.DataFrame({"x": at}), "x")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(found).max())
    if scale == 1 and "bound" not in term:  # at the ends, from inside
        ends = np.array([x.min(), x.max()])
        inside = ends + 1e-7 * np.array([1, -1]) * ends
        f = [encoding.encode(pd.DataFrame({"x": one}), dense=True).X for one in (ends, inside)]
        found = encoding.slopes(pd.DataFrame({"x": ends}), "x")
        expected = (f[1] - f[0]) / (inside - ends)[:, None]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(found).max())


@pytest.mark.parametrize(
    ("term", "at_jumps", "elsewhere"),
    [
        ("I(x > 4)", [4], [3, 5]),
        ("I(abs(x - 4) > 0)", [4], [3, 5]),
        ("I((x - 4) ** 2 == 0)", [4], [3, 5]),
        ("I(x != 4)", [4], [3.5, 5]),
        ("floor(x / 2)", [2, 4], [3, 5]),
        ("I(floor(x / 2) == 2)", [4, 6], [2, 5, 8]),
        ("I(sign(x - 4) > 0)", [4], [3, 5]),
        ("bs(x, knots=[4], degree=0)", [4], [0, 3, 5, 9]),
        ("sqrt(x - 0)", [0], [1, 5]),
        ("I(x > 4):x", [4], [3, 5]),
        ("I((x - 3) * (x > 4))", [4], [3, 5]),
        ("I((x - 4) * (x > 4))", [], [4]),
        ("I(x - 4):I(x > 4)", [], [4]),
        ("I(x * sqrt(x))", [], [0]),
        ("I(abs(x - 4) ** 3)", [], [4]),
    ],
)
def test_only_values_at_jumps_and_infinite_slopes_have_no_slope(term, at_jumps, elsewhere):
    x = np.arange(10.0)
    assert not np.isfinite(slopes(term, x, at_jumps)).all(axis=1).any()
    assert np.isfinite(slopes(term, x, elsewhere)).all()


def test_the_slope_at_a_kink_is_the_mean_of_those_on_both_sides():
    x = np.arange(10.0)
    np.testing.assert_array_equal(slopes("abs(x - 4) + I((x - 4) * (x > 4))", x, [4]), [[0.0, 0.5]])
    beside = slopes("bs(x, knots=[4], degree=1)", x, [3.9, 4.1])
    np.testing.assert_allclose(slopes("bs(x, knots=[4], degree=1)", x, [4])[0], beside.mean(axis=0))


def test_slopes_are_0_where_a_term_has_reached_its_limit():
    x = np.array([-1e3, -2.0, 0.5, 1e3])
    expected = 1 / (2 * np.cosh(np.clip(x, -400, 400) / 2)) ** 2
    for term in ("I(1 / (1 + exp(-x)))", "I(tanh(expm1(x) + 1) * 0 + 0.5 * tanh(x / 2))"):
        np.testing.assert_allclose(slopes(term, x)[:, 0], expected, rtol=1e-12, atol=1e-150)
    np.testing.assert_allclose(slopes("arctan(exp(x))", x)[[0, 3]], 0.0)


@pytest.mark.parametrize("term", ["exp(log(x))", "I(1 / (1 / x))", "arctan(x ** -1)"])
def test_terms_with_a_pole_have_no_slope_there(term):
    assert np.isnan(slopes(term, np.arange(1.0, 4.0), [0.0])).all()
