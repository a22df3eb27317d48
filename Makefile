# make demo   train on the UCI digits and show what came out
# make test   the suite but for a few slow tests   make lint   style and types   make format   repair style
# make test-all    the whole suite, as CI runs it
# make test-cpus   the suite as on other CPUs: with vectors of 64 bytes and one thread, 32 bytes and two, 16 bytes and one, as far
#                  as this CPU has them (tests/cpus.py); three times as long as make test-all
# make test-oldest   the whole suite with the oldest supported versions of all dependencies, in .venv-oldest
# make docs   the documentation, in site/
# make test-cuda   the CUDA kernels, executed on the CPU, some 5 minutes of it; an environment of its own, .venv-cuda, of about 1 GB
# make test-gpu    the same on a real GPU, with cuBLAS, compute-sanitizer and times beside PyTorch's, in .venv-gpu (some GB);
#                  without one it says that it skips
# make cuda-report   what the compiler makes of every shape of them, to perf/CUDA.md; needed after each change of a kernel
# Each sets up .venv first. Only Python 3.11+ and make are needed.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := pytest -n 2 --dist worksteal
# Which of two virtual environments is active outside must not matter here.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.PHONY: demo test test-all test-cpus test-oldest lint format docs test-cuda test-gpu cuda-report clean

demo: .venv/demo
	$(BIN)/nbsoftmax demo

test: .venv/test
	$(BIN)/$(PYTEST) -m "not slow"

test-all: .venv/test
	$(BIN)/$(PYTEST)

test-cpus: .venv/test
	$(BIN)/python tests/cpus.py -n 2 --dist worksteal

test-oldest: .venv-oldest/test
	.venv-oldest/bin/$(PYTEST)

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/docs
	$(BIN)/mkdocs build --quiet --strict

test-cuda: .venv-cuda/test
	.venv-cuda/bin/pytest -n 2 tests/gpu

# Without a driver the light environment does, to say so.
GPU := $(if $(shell command -v nvidia-smi 2>/dev/null),.venv-gpu,.venv-cuda)
test-gpu: $(GPU)/test
	$(GPU)/bin/pytest -rs -m gpu tests/gpu
	sanitizer=$$(command -v compute-sanitizer || find $(GPU) -name compute-sanitizer -type f -perm -u+x | head -n 1); \
	if [ -z "$$sanitizer" ]; then echo "compute-sanitizer is not installed: skipped"; \
	else "$$sanitizer" --error-exitcode 1 --target-processes all $(GPU)/bin/pytest -m gpu tests/gpu; fi
	$(GPU)/bin/python -m perf.gpu

cuda-report: .venv-cuda/test
	.venv-cuda/bin/python -m perf.cuda_report
	.venv-cuda/bin/python -m perf.cuda_model

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nbsoftmax needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[plot,cli]'
	touch $@

.venv/test: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[all,dev]'
	touch $@ .venv/demo

.venv-oldest/test: pyproject.toml .ci/oldest.py
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python .ci/oldest.py all test > .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install --quiet --constraint .venv-oldest/constraints.txt --editable '.[all,test]'
	touch $@

.venv/docs: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[docs,sklearn,plot,test]'
	touch $@

.venv-cuda/test: pyproject.toml
	$(PYTHON) -m venv .venv-cuda
	.venv-cuda/bin/python -m pip install --quiet --editable '.[test-cuda]'
	touch $@

.venv-gpu/test: pyproject.toml
	$(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/python -m pip install --quiet --editable '.[test-gpu]'
	touch $@

clean:
	rm -rf site .venv .venv-oldest .venv-cuda .venv-gpu .numba_cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
