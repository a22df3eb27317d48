"""Linear hypotheses, contrasts of classes, relative risk ratios: against statsmodels and other parametrisations."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.models.chi_squared import chi_squared
from nbsoftmax.models.estimates import z_scores
from tests.models.test_inference import anes96, blobs, relative, spector, theirs

LABELS = np.array(["low", "mid", "a high one"])


@pytest.fixture(scope="module")
def table():
    X, y = blobs(n_features=3)
    model = nbs.Trainer().fit(X, LABELS[y]).model
    named = nbs.SoftmaxModel(model.coef, model.intercept, model.classes, ["x1", "pixel.2", "log(x), 3"])
    return nbs.inference(named, X, LABELS[y], reference="low")


def index_of(table, label, name):
    """The index of a coefficient in params.ravel()."""
    return table.classes.tolist().index(label) * len(table.names) + table.names.index(name)


@pytest.mark.parametrize(
    ("text", "numbers", "right"),
    [
        ("x1[mid]", {("mid", "x1"): 1}, 0),
        ("x1[mid] = x1[a high one]", {("mid", "x1"): 1, ("a high one", "x1"): -1}, 0),
        (" x1 [ 'mid' ]=2*x1[\"a high one\"] ", {("mid", "x1"): 1, ("a high one", "x1"): -2}, 0),
        ("x1[mid] = x1[low]", {("mid", "x1"): 1}, 0),  # the reference
        ("-x1[mid] / 4 + 3 * pixel.2[mid] * 2 - 1 = 1e-1", {("mid", "x1"): -0.25, ("mid", "pixel.2"): 6}, 1.1),
        ("0.5 = const[mid]", {("mid", "const"): -1}, -0.5),
        ("'log(x), 3'[mid] - .5", {("mid", "log(x), 3"): 1}, 0.5),
        ("x1[mid] + x1[mid] = -2", {("mid", "x1"): 2}, -2),
    ],
)
def test_a_text_is_the_hypothesis_that_it_says(table, text, numbers, right):
    R = np.zeros(table.n_params)
    for (label, name), number in numbers.items():
        R[index_of(table, label, name)] = number
    theta = table.params.ravel()
    expected = (R @ theta - right) ** 2 / (R @ table.covariance @ R)
    assert relative(table.test(text).statistic, expected) <= 1e-12
    assert relative(table.test(R, right).statistic, expected) <= 1e-12
    assert table.test(text).df == 1


def test_several_equations_are_one_test(table):
    one_text = table.test("x1[mid] = 0, x1[a high one]")
    several = table.test(["x1[mid]", "x1[a high one] = 0"])
    wald = table.wald_test("x1")
    for found in (one_text, several):
        assert found.df == wald.df == 2
        assert relative(found.statistic, wald.statistic) <= 1e-12
        assert relative(found.p_value, wald.p_value) <= 1e-9


def test_tests_of_linear_hypotheses_are_those_of_statsmodels():
    X, y = anes96()
    mnlogit = theirs(X, y)
    R = np.zeros((2, 36))  # their parameters: class after class, the constant first
    R[0, [6 + 3, 12 + 3]], R[1, 30 + 5] = [1, -1], 2
    q = np.array([0.0, 0.5])
    expected = mnlogit.wald_test((R, q), scalar=True, use_f=False)
    name = X.columns[[2, 4]]
    ours = nbs.Trainer().fit(X, y).inference().test([f"{name[0]}[2] = {name[0]}[3]", f"2 * {name[1]}[6] = 0.5"])
    assert relative(ours.statistic, expected.statistic) <= 1e-6
    assert relative(ours.p_value, expected.pvalue) <= 1e-6


def test_two_classes_need_no_label():
    table = nbs.Trainer().fit(*spector()).inference()
    assert table.test("GPA = 2 * PSI").statistic == table.test("GPA[1] = 2 * PSI[1]").statistic
    assert relative(table.test("GPA").statistic, table.z[0, 0] ** 2) <= 1e-12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x1[high]", "'high' is not a class; the classes are 'a high one', 'low', 'mid'"),
        ("x3[mid]", "'x3' is not the name of one column; the columns are 'x1'"),
        ("x1", r"'x1' has no class; write x1\[a high one\]"),
        ("x1[mid] = x1[mid] = 0", "more than one '='"),
        ("x1[mid] * x1[mid]", "makes it not linear"),
        ("1 / x1[mid]", "makes it not linear"),
        ("x1[mid] / 0", "divides by 0"),
        ("2 x1[mid]", "an operator is missing before"),
        ("x1[mid] +", "a coefficient or number is missing"),
        ("x1[mid] = ", "a coefficient or number is missing"),
        ("x1[mid],", "a coefficient or number is missing"),
        ("", "a coefficient or number is missing"),
        ("log(x)[mid]", r"'\(x\)\[mid\]' cannot be read; put names with other characters in quotes"),
        ("2x1[mid]", "cannot be read"),
        ("x1[mid] = 1e400", "a number in it exceeds the range of float64"),
        ("1e300 * 1e300 * x1[mid]", "a number in it exceeds the range of float64"),
        ("__import__('os')", "is not the name of one column|cannot be read"),
    ],
)
def test_a_text_that_is_no_hypothesis_is_refused(table, text, message):
    with pytest.raises(nbs.InputValueError, match=f"is not understood: .*({message})"):
        table.test(text)


@pytest.mark.parametrize(
    ("hypothesis", "q", "message"),
    [
        (["x1[mid]", "2 * x1[mid]"], None, "linearly dependent"),
        (np.zeros((0, 8)), None, r"hypothesis has shape \(0, 8\)"),
        ("x1[low] = 0", None, "'x1.low. = 0' is about 'low', the reference class, .*reference='a high one'"),
        ("x1[mid] = x1[low], const[low]", None, "is about 'low', the reference class"),
        ("x1[mid] = x1[mid]", None, "contains no coefficient, or they cancel"),
        ("1 = 2", None, "contains no coefficient"),
        (np.eye(8)[:2] * [[1.0], [0.0]], None, "contains no coefficient"),
        ("x1[mid]", 1.0, "write the number into the text"),
        (np.zeros((2, 3)), None, r"hypothesis has shape \(2, 3\)"),
        (np.eye(8)[:2], [1.0, 2.0, 3.0], r"q has shape \(3,\)"),
        (np.eye(8)[:1], np.nan, "q"),
        ([], None, "hypothesis"),
    ],
)
def test_hypotheses_that_cannot_be_tested_are_refused(table, hypothesis, q, message):
    with pytest.raises(nbs.InputValueError, match=message):
        table.test(hypothesis, q)


def test_a_statistic_that_rounding_made_negative_is_0():
    assert chi_squared(-1e-12, 2).p_value == 1.0


def test_z_scores_without_error_are_infinite_or_nan_and_warn_of_nothing():
    found = z_scores(np.array([0.0, 1.0, -1.0]), np.zeros(3))
    np.testing.assert_array_equal(found, [np.nan, np.inf, -np.inf])


# --- contrasts of classes -----------------------------------------------------------------------


def test_a_contrast_is_a_row_of_the_table_relative_to_its_second_class():
    X, y = blobs(n_classes=4)
    result = nbs.Trainer().fit(X, y)
    table, other = result.inference(), result.inference(reference=2)
    for a, b in ((3, 2), (1, 2), (0, 2)):
        contrast, k = table.contrast(a, b), other.classes.tolist().index(a)
        assert relative(contrast.params, other.params[k]) <= 1e-9
        assert relative(contrast.standard_errors, other.standard_errors[k]) <= 1e-9
        assert np.abs(contrast.p_values - other.p_values[k]).max() <= 1e-9
        assert relative(contrast.conf_int(0.9), other.conf_int(0.9)[k]) <= 1e-8
    assert np.array_equal(table.contrast(1, 0).params, table.params[0])
    assert "       y=1       coef" in str(table.contrast(1, 2))
    for a, b, message in ((1, 9, "b is 9, expected one of"), (1, 1, "a and b are both 1")):
        with pytest.raises(nbs.InputValueError, match=message):
            table.contrast(a, b)


# --- relative risk ratios, data frames ------------------------------------------------------------


def test_relative_risk_ratios_are_the_exponentials_with_errors_of_the_delta_method(table):
    frame = table.to_frame(exp=True, level=0.9)
    ratio = np.exp(table.params)
    assert np.array_equal(frame["rrr"], ratio.ravel())
    assert relative(frame["std_error"].to_numpy(), (ratio * table.standard_errors).ravel()) <= 1e-12
    assert np.array_equal(frame["p_value"], table.p_values.ravel())
    assert np.array_equal(frame[["low", "high"]], np.exp(table.conf_int(0.9)).reshape(-1, 2))
    line = next(line for line in table.summary(exp=True).splitlines() if line.startswith("x1"))
    cells = [ratio[0, 0], ratio[0, 0] * table.standard_errors[0, 0], table.z[0, 0], table.p_values[0, 0]]
    cells += np.exp(table.conf_int()[0, 0]).tolist()
    assert [float(cell) for cell in line.split()[1:]] == pytest.approx(cells, abs=6e-4)
    assert "RRR" in table.summary(exp=True)


def test_an_exp_that_is_no_truth_value_is_refused(table):
    contrast = table.contrast("mid", "low")
    for show in (table.summary, table.to_frame, contrast.summary, contrast.to_frame):
        with pytest.raises(nbs.InputTypeError, match="exp is 'no', expected True or False"):
            show(exp="no")


def test_data_frames_have_a_row_for_each_coefficient(table):
    frame = table.to_frame()
    assert frame["class"].tolist() == np.repeat(table.classes, 4).tolist()
    assert frame["column"].tolist() == [*table.names] * 2
    assert np.array_equal(frame["coef"], table.params.ravel())
    assert np.array_equal(frame["z"], table.z.ravel())
    contrast = table.contrast("mid", "low").to_frame()
    rows = frame[frame["class"] == "mid"]
    assert np.allclose(contrast["high"], rows["high"], rtol=1e-12)
    assert contrast["column"].tolist() == list(table.names)
