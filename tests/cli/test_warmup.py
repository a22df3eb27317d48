"""`nbsoftmax warmup`: afterwards nothing is compiled."""

import json
import subprocess
import sys

import pytest

from tests.cli.commands import in_a_process, run

USE = """
import sys, warnings
from numba.core import event

class Count(event.Listener):
    names = []
    def on_start(self, e):
        Count.names.append(e.data["dispatcher"].py_func.__qualname__)
    def on_end(self, e):
        pass

event.register("numba:compile", Count())
import numpy as np
import nbsoftmax as nbs
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
for m, n, k in [(200, 7, 4), (150, 300, 2), (300, 6, 66), (80, 1000, 100)]:
    X, y = rng.normal(size=(m, n)).astype(sys.argv[1]), np.arange(m) % k
    X.flags.writeable = False
    w = rng.uniform(size=m)
    for options in dict(l2=0.1), dict(l1=0.1), dict(solver="sgd"):
        nbs.Trainer(max_iter=2, **options).fit(X, y, sample_weight=w)
    model = nbs.Trainer(l2=0.1, max_iter=2).fit(X, rng.dirichlet(np.ones(k), m)).model
    model.predict(X), model.predict_proba(X), model.predict_log_proba(X), model.top_k(X, 2)
    z = rng.normal(size=(m, k)).astype(sys.argv[1])
    nbs.softmax(z), nbs.log_softmax(z), nbs.logsumexp(z), nbs.cross_entropy_and_grad(z, y), nbs.sigmoid(z)
nbs.softmax(rng.normal(size=(2, 40000)).astype(sys.argv[1]))
from scipy import sparse
X, y = np.eye(20)[rng.integers(0, 20, (200, 3))].reshape(200, 60).astype(sys.argv[1]), np.arange(200) % 4
objective = nbs.Objective(sparse.csr_array(X), y)
objective.hessian(np.zeros(objective.shape))
nbs.Trainer(l2=0.1, max_iter=2).fit(sparse.csr_array(X), y).model.predict(X)
print(*Count.names)
"""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_after_a_warmup_nothing_is_compiled(dtype):
    done = in_a_process("warmup", "--dtype", dtype, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["stored"] > 40
    assert facts["folder"]
    used = subprocess.run([sys.executable, "-c", USE, dtype], capture_output=True, text=True, check=True)
    assert used.stdout.split() == []


def test_a_warmup_without_a_folder_fails(monkeypatch, capsys):
    monkeypatch.setattr("nbsoftmax.kernels.runtime.cache.cache_folder", lambda: None)
    assert run("warmup") == 1
    assert "NUMBA_CACHE_DIR" in capsys.readouterr().out


def test_what_was_compiled_is_listed(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("nbsoftmax.kernels.runtime.cache.cache_folder", lambda: tmp_path)
    monkeypatch.setattr(
        "nbsoftmax.cli.warmup._compile", lambda *args: (tmp_path / "rows.softmax-1.nbc").write_bytes(b"")
    )
    assert run("warmup", "--dtype", "float64") == 0
    out = capsys.readouterr().out
    assert "compiled rows.softmax-1" in out
    assert str(tmp_path) in out
