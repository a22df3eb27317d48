"""No formula runs code, neither in a fit nor from the file of a model."""

import ast
import builtins
import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import issparse

import nbsoftmax as nbs
from nbsoftmax.encoding import FormulaEncoding
from nbsoftmax.encoding.formula.expressions import expression
from tests.encoding.test_formulas import FRAME, TERMS, encoding_of

EVIL = [
    "__import__('os').system('touch pwned')",
    "__import__('os')",
    "open('pwned', 'w')",
    "open('pwned', 'w').write(x)",
    "eval('1')",
    "exec('1')(x)",
    "getattr(x, 'values')",
    "log(getattr(x, 'values'))",
    "x.to_pickle('pwned')",
    "I(x.values.tofile('pwned'))",
    "np.load('pwned')",
    "np.lib.npyio.load('pwned', x)",
    "I((lambda: x)())",
    "I((lambda x=open('pwned', 'w'): x)())",
    "I([v for v in x])",
    "I({v for v in x})",
    "I(sum(v for v in x))",
    "I(x if x else z)",
    "I(x and z)",
    "I(not x)",
    "I(x[0])",
    "I(f'{x}')",
    "I((y := x))",
    "I(x < z < x)",
    "I(x @ z)",
    "I(x % z)",
    "I(x, z)",
    "I(*x)",
    "log(x, out=z)",
    "log(x, **z)",
    "log('x')",
    "I(x + 'a')",
    "I(x + True)",
    "I(x + None)",
    "I(x + 1j)",
    "I(x + 1e999)",
    "I(x + ...)",
    "bs(x, df=z)",
    "bs(x, df=10**9)",
    "bs(x, degree=100000)",
    "bs(x, knots=[z])",
    "bs(x, knots=open('pwned', 'w'))",
    "bs(x, _state={})",
    "bs(x, 4, _state=3)",
    "bs(bs(x, 4), 4)",
    "log(bs(x, 4))",
    "scale(C(x))",
    "C(open('pwned', 'w'))",
    "C(x + z)",
    "C(x, open('pwned', 'w'))",
    "C(x, contr.custom([1, 2]))",
    "C(x, Treatment(open('pwned', 'w')))",
    "C(x, levels=[1, 2])",
    "hashed(x, 3)",
    "lag(x)",
    "Q('x')",
    "x.__class__",
    "log(x.__class__.__mro__)",
    "-" * 200 + "x",
    "(" * 300 + "x" + ")" * 300,
    "x" * 3000,
    "3",
    "I(3)",
    "",
    "x +",
    "`x",
]


@pytest.fixture
def audited(monkeypatch, tmp_path):
    """Fails if a file appears in the working directory."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", EVIL)
def test_a_fit_refuses_what_is_not_a_column_a_number_or_a_known_function(text, audited):
    for formula in (f"y ~ I({text})", f"y ~ z + {{{text}}}", f"y ~ {text}", f"y ~ z:log({text})", f"{text} ~ z"):
        if text in ("3", "I(3)", "") and formula != f"y ~ {text}":
            continue
        if text[:1] in ("(", "-") and formula == f"y ~ {text}":  # operators of the formula itself
            continue
        with pytest.raises((nbs.InputValueError, nbs.InputTypeError)) as caught:
            nbs.fit_formula(formula, FRAME)
        assert "\n" not in str(caught.value)
        assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("text", EVIL)
def test_the_file_of_a_model_with_such_a_term_is_refused(text, tmp_path, audited):
    model = nbs.fit_formula("y ~ log(z) * x", FRAME, l2=0.01).model
    stored = json.dumps(model.encoding.to_dict()).replace(json.dumps("log(z)"), json.dumps(text))
    with pytest.raises((ValueError, TypeError, KeyError)):
        found = FormulaEncoding.from_dict(json.loads(stored))
        found.encode(FRAME)


def test_a_damaged_file_is_refused_when_it_is_read(tmp_path):
    model = nbs.fit_formula("y ~ log(z) * x", FRAME, l2=0.01).model
    path = tmp_path / "m.npz"
    model.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    evil = str(arrays["encoding"]).replace('"log(z)"', "\"__import__('os')\"")
    np.savez(path, **{**arrays, "encoding": np.asarray(evil)})
    with pytest.raises(nbs.InputValueError, match=r"damaged one .*function '__import__'"):
        nbs.SoftmaxModel.load(path)


STORED = encoding_of(
    "y ~ bs(x, 4) * C(cyl, Sum) + poly(z, 2) + scale(log(z)) + cr(x, 3, constraints='center')"
).to_dict()


def nodes(value, path=()):
    """The paths of all values inside a value of JSON."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from nodes(value[key], (*path, key))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(list(nodes(STORED))[1:]),
    st.sampled_from([None, True, -1, 0, 3.5, 10**9, float("nan"), "", "x", "open('a')", [], {}, [[]], {"a": 1}]),
)
def test_any_change_of_the_stored_encoding_is_refused_or_gives_a_finite_matrix(path, value):
    stored = json.loads(json.dumps(STORED))
    place = stored
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    try:
        X = FormulaEncoding.from_dict(stored).encode(FRAME).X
    except (ValueError, TypeError, KeyError, AttributeError):
        return
    assert np.isfinite(X.toarray() if issparse(X) else X).all()


def test_predictions_compile_and_evaluate_nothing(tmp_path, monkeypatch):
    columns = [
        "x",
        "log(z)",
        "scale(x)",
        "bs(z, 4)",
        "poly(x, 2)",
        "cr(z, 3)",
        "C(cyl, Sum)",
        "island",
        "`bill length`",
    ]
    model = nbs.fit_formula(f"y ~ {' + '.join(columns)}", FRAME, l2=0.01).model
    model.save(tmp_path / "m.npz")
    nbs.SoftmaxModel.load(tmp_path / "m.npz").predict(FRAME)  # imports what it needs
    seen = []
    for name in ("eval", "exec", "compile"):
        original = getattr(builtins, name)

        def watched(*arguments, name=name, original=original, **options):
            flags = arguments[3] if len(arguments) > 3 else options.get("flags", 0)
            if not (name == "compile" and flags & ast.PyCF_ONLY_AST):
                seen.append((name, sys._getframe(1).f_code.co_filename))
            return original(*arguments, **options)

        monkeypatch.setattr(builtins, name, watched)
    nbs.SoftmaxModel.load(tmp_path / "m.npz").predict(FRAME)
    monkeypatch.undo()
    assert not [where for where in seen if "formula" in where[1]]


@given(st.text("xz+-*/()., 'I`{}[]:=\\\"0b", max_size=30))
def test_any_text_is_an_expression_of_columns_or_is_refused(text):
    try:
        found = expression(text)
    except nbs.InputValueError:
        return
    assert found.columns
    allowed = {type(node) for term in TERMS if ":" not in term for node in ast.walk(expression(term.strip("{}")).tree)}
    allowed |= {ast.Attribute, ast.UAdd, ast.USub, ast.Mult, ast.Sub, ast.Div, ast.Pow, ast.Eq, ast.Constant}
    assert {type(node) for node in ast.walk(found.tree)} <= allowed
