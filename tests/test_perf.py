"""The measurements: they run, write what they print, and refuse to compare what is not the same sum. No times."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY))
    from perf import peers

    return peers


def run(*arguments, **environment):
    command = [sys.executable, "-m", "perf", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | environment, capture_output=True, text=True, check=True
    ).stdout


def test_a_quick_run_writes_what_it_prints(tmp_path):
    page = tmp_path / "page.md"
    # A setting that holds BLAS back makes it start itself again, arguments included.
    printed = run(
        "rows", "--quick", "--json", str(tmp_path / "f"), "--markdown", str(page), OPENBLAS_CORETYPE="Haswell"
    )
    found = json.loads((tmp_path / "f").read_text())
    assert found["quick"] is True
    assert set(found["limits"]) == {"read", "copy", "gemm float64", "gemm float32"}
    rows = [row for group in found["groups"].values() for row in group]
    assert len(rows) == 12
    for row in rows:
        assert row["work"] in printed
        assert {"nbsoftmax", "copy"} <= set(row["times"])
        assert all(0 < t["low"] <= t["median"] <= t["high"] for t in row["times"].values())
        assert f"| {row['work']} | {row['dtype']} |" in page.read_text()
    assert str(REPOSITORY) not in page.read_text()
    assert str(Path.home()) not in page.read_text()


def test_a_peer_that_is_not_installed_is_named_and_skipped(peers, monkeypatch):
    monkeypatch.setitem(peers.PEERS, "PyTorch", "no_such_module")
    assert "PyTorch" in peers.missing()
    assert "PyTorch" not in peers.installed()
    assert "PyTorch" not in peers.softmax(np.ones((4, 3)))


def contestants_of(peers, task):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 40)
    if task == "linear":
        return peers.linear(rng.normal(size=(40, 5)), y, rng.normal(size=(3, 6)))
    z = rng.normal(size=(40, 3))
    return peers.softmax(z) if task == "softmax" else peers.cross_entropy(z, y)


@pytest.mark.parametrize("task", ["softmax", "cross_entropy", "linear"])
def test_contestants_agree_and_a_wrong_one_is_refused(peers, task):
    contestants = contestants_of(peers, task)
    peers.agree(contestants, 1e-12)
    ours = contestants["nbsoftmax"]
    n_results = len(ours.arrays(ours.call()))
    for wrong in range(n_results):

        def altered(raw, wrong=wrong):
            arrays = [np.array(a) for a in ours.arrays(raw)]
            arrays[wrong].reshape(-1)[-1] += 1e-3
            return tuple(arrays)

        with pytest.raises(peers.DisagreementError, match="cheat differs from nbsoftmax"):
            peers.agree(contestants | {"cheat": peers.Contestant(ours.call, altered)}, 1e-6)


def test_a_nan_is_no_agreement(peers):
    ours = contestants_of(peers, "softmax")["nbsoftmax"]
    cheat = peers.Contestant(ours.call, lambda p: (p * np.nan,))
    with pytest.raises(peers.DisagreementError):
        peers.agree({"nbsoftmax": ours, "cheat": cheat}, 1e-6)


@pytest.mark.skipif(find_spec("sklearn") is None, reason="scikit-learn is not installed")
def test_scikit_learn_does_the_same_sum(peers):
    assert "scikit-learn" in contestants_of(peers, "linear")
    assert "scikit-learn" in contestants_of(peers, "cross_entropy")
