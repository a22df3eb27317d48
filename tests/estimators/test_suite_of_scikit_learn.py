"""scikit-learn's own tests of `LogisticRegression` with our estimators fail only where docs/sklearn.md says why.

A copy of scikit-learn's file, in which the names stand for our estimators (`logistic_names`), is made in a temporary
folder and run there.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn.linear_model

from tests.conftest import REPOSITORY

SUITE = Path(sklearn.linear_model.__path__[0]) / "tests" / "test_logistic.py"
DOCUMENTED = "740f782b92aedbccaaa422b51722d8369d0dd6d4e9bd700c9d2cda9d7ff383b7"  # of scikit-learn 1.9.1
IMPORT = "from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier\n"
OURS = """from sklearn.linear_model import SGDClassifier
from tests.estimators.logistic_names import LogisticRegression, LogisticRegressionCV
"""
CONFTEST = """
import json, pytest
outcomes = {}

@pytest.fixture
def global_random_seed():
    return 42

def pytest_runtest_logreport(report):
    if report.when == "call" or not report.passed:
        outcomes[report.nodeid.partition("::")[2]] = report.outcome

def pytest_sessionfinish():
    with open("outcomes.json", "w") as file:
        json.dump(outcomes, file)
"""


def documented():
    """The kinds of differences of docs/sklearn.md: names of failing tests, as patterns, and their number."""
    page = (REPOSITORY / "docs" / "sklearn.md").read_text(encoding="utf-8")
    section = page.partition("## scikit-learn's own tests")[2].partition("\n## ")[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[2].isdigit():
            yield cells[0], re.findall("`(.*?)`", cells[1]), int(cells[2])


def matches(name, pattern):
    """Whether a test has a name with wildcards; one without parameters stands for all of them."""
    expression = re.escape(pattern).replace(r"\*", ".*")
    return re.fullmatch(expression, name) or re.fullmatch(expression, name.partition("[")[0])


@pytest.mark.slow
def test_scikit_learns_tests_fail_only_where_the_documentation_says_why(tmp_path):
    text = SUITE.read_text(encoding="utf-8") if SUITE.exists() else ""
    if hashlib.sha256(text.encode()).hexdigest() != DOCUMENTED:
        pytest.skip(f"docs/sklearn.md describes the tests of scikit-learn 1.9.1, not of {sklearn.__version__}")
    assert text.count(IMPORT) == 1
    (tmp_path / "test_logistic.py").write_text(text.replace(IMPORT, OURS), encoding="utf-8")
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = thread_unsafe: of scikit-learn\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "SCIPY_ARRAY_API"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "default"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (tmp_path / "outcomes.json").exists(), ended.stdout + ended.stderr
    outcomes = json.loads((tmp_path / "outcomes.json").read_text(encoding="utf-8"))
    failed = {name for name, outcome in outcomes.items() if outcome == "failed"}
    ran = {name for name, outcome in outcomes.items() if outcome != "skipped"}
    explained = set()
    for kind, patterns, count in documented():
        assert patterns, kind
        for pattern in patterns:
            named = {name for name in ran if matches(name, pattern)}
            assert named, f"{pattern} is no test of scikit-learn's"
            assert named <= failed, f"documented as failing, but they pass: {sorted(named - failed)}"
        found = {name for name in failed if any(matches(name, pattern) for pattern in patterns)}
        assert len(found) == count, kind
        explained |= found
    assert not failed - explained, ended.stdout
