"""The names of devices, and what is said where there is no GPU."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import penalized_loss
from nbsoftmax.backends.cuda import device
from nbsoftmax.cli import main
from nbsoftmax.errors import InputError, InputValueError

X, Y = np.arange(12.0).reshape(6, 2) % 5, np.array([0, 1, 0, 1, 0, 1])


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:1,", "cuda:-1", 0, None, "CPU"])
def test_other_names_are_refused(name):
    with pytest.raises(InputValueError, match=r"device is .*expected 'cpu', 'cuda'"):
        nbs.Trainer(device=name)
    with pytest.raises(InputValueError, match="device is"):
        nbs.Objective(X, Y, device=name)


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "cuda:0,1", "cuda:all"])
def test_without_the_package_the_error_says_how_to_install_it(name, monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda package: None)
    with pytest.raises(InputValueError, match=r"numba-cuda is not installed: pip install 'nbsoftmax\[cuda\]'"):
        nbs.Objective(X, Y, device=name)
    with pytest.raises(InputValueError, match="numba-cuda is not installed"):
        nbs.Trainer(device=name, l2=0.1).fit(X, Y)


def test_auto_without_a_gpu_is_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "missing", lambda: "there is none")
    here = nbs.Trainer(l2=0.1).fit(X, Y)
    there = nbs.Trainer(l2=0.1, device="auto").fit(X, Y)
    assert np.array_equal(here.model.coef, there.model.coef)


def test_stochastic_descent_says_that_it_runs_on_the_cpu():
    with pytest.raises(InputValueError, match="'sgd' runs on the CPU"):
        nbs.Trainer(solver="sgd", device="cuda")
    assert nbs.Trainer(solver="sgd", device="auto").device == "cpu"


class OnDevice:
    """What says that it is on a GPU."""

    shape = (6, 2)

    @property
    def __cuda_array_interface__(self):
        return {"shape": (6, 2), "typestr": "<f8", "data": (64, False), "version": 3, "strides": None}


def test_an_array_on_a_gpu_is_not_taken_for_one_on_the_host():
    with pytest.raises(InputValueError, match="X is on a GPU, and device is 'cpu'"):
        nbs.Objective(OnDevice(), Y)
    with pytest.raises(InputValueError, match="X is on a GPU, and device is 'cpu'"):
        nbs.Trainer(l2=0.1).fit(OnDevice(), Y)
    with pytest.raises(InputValueError, match="X is on a GPU, and device is 'cpu'"):
        nbs.Trainer(l2=0.1, validation_fraction=0.5).fit(OnDevice(), Y)


def test_estimators_and_the_command_line_pass_the_device_on(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(device, "find_spec", lambda package: None)
    with pytest.raises(InputValueError, match="numba-cuda is not installed"):
        nbs.SoftmaxRegression(device="cuda").fit(X, Y)
    with pytest.raises(InputValueError, match="numba-cuda is not installed"):
        nbs.SoftmaxRegressionCV(device="cuda", cv=2).fit(X, Y)
    np.savez(tmp_path / "data.npz", X=X, y=Y)
    command = ["fit", str(tmp_path / "data.npz"), "--l2", "0.1", "--out", str(tmp_path / "m.npz"), "--quiet"]
    assert main([*command, "--device", "cuda"]) == 2
    assert "numba-cuda is not installed" in capsys.readouterr().err
    assert main([*command, "--device", "auto"]) == 0


def test_a_gpu_without_memory_is_one_line_on_the_command_line(monkeypatch, tmp_path, capsys):
    class Full:
        def here(self):
            raise device.out_of_memory("cuda:0", 2**23, 2**20)

        def adopt(self, X):
            raise AssertionError

        free_memory = here

    monkeypatch.setattr(penalized_loss, "devices", lambda name: [Full()] if name == "cuda" else [])
    np.savez(tmp_path / "data.npz", X=X, y=Y)
    command = ["fit", str(tmp_path / "data.npz"), "--out", str(tmp_path / "m.npz"), "--quiet", "--device", "cuda"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "cuda:0 was asked for 8.0 MB and has 1.0 MB free" in said and "Traceback" not in said
    assert issubclass(nbs.DeviceMemoryError, MemoryError)
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize(
    ("given", "said"), [({"progress": 3}, "progress is 3"), ({"device_memory": 0}, "device_memory")]
)
def test_options_of_a_device_are_checked_wherever_the_sums_are_made(given, said):
    with pytest.raises(InputError, match=said):
        nbs.Objective(X, Y, **given)


def test_a_checkpoint_is_of_one_device(monkeypatch, tmp_path):
    path = tmp_path / "fit.npz"
    monkeypatch.setattr(device, "missing", lambda: "there is none")
    nbs.Trainer(l2=0.1, device="auto").fit(X, Y, checkpoint=path)
    with pytest.raises(InputValueError, match=r"another problem|other"):
        nbs.Trainer(l2=0.1).fit(X, Y, checkpoint=path, resume=True)
    nbs.Trainer(l2=0.1, device="auto").fit(X, Y, checkpoint=path, resume=True)
