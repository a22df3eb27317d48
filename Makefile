# make demo          train on the UCI digits and print the results
# make test          run the tests, except a few slow ones
# make test-all      run all tests, as CI does
# make test-cpus     run all tests as on other CPUs: vectors of 64 bytes with one thread, 32 bytes with two, 16 bytes with one,
#                    as far as this CPU supports them (tests/cpus.py); takes three times as long as make test-all
# make test-oldest   run all tests with the oldest supported versions of all dependencies, in .venv-oldest
# make test-matrix   run the tests that depend on versions with every supported Python of this machine, with the newest and the
#                    oldest dependencies, in .venv-matrix (about 1 GB for each Python)
# make test-arm      run the tests of kernels, functions of logits and solvers on emulated arm64, in .venv-arm (1 GB, Debian only)
# make lint          check style and types
# make format        correct the style
# make docs          build the documentation, in site/
# make notebooks     run the notebooks of docs/notebooks/ and store their outputs
# make test-cuda     test the CUDA kernels by executing them on the CPU, about 5 minutes; in .venv-cuda (about 1 GB)
# make test-gpu      test them on a real GPU, with cuBLAS and compute-sanitizer, and compare times with PyTorch, in .venv-gpu
#                    (several GB); skipped without a GPU
# make cuda-report   write registers and memory of all compiled CUDA kernels to perf/CUDA.md; needed after a change of a kernel
# make release-check build the wheel and the source distribution in dist/, and use both in empty environments
# make clean         remove environments, caches and built files
# Each target first creates its virtual environment. Only Python 3.11 or newer and make are required.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := pytest -n 2 --dist worksteal
# An active virtual environment must have no effect.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.PHONY: demo test test-all test-cpus test-oldest test-matrix test-arm lint format docs notebooks test-cuda test-gpu \
	cuda-report release-check clean

demo: .venv/demo
	$(BIN)/nbsoftmax demo

test: .venv/test
	$(BIN)/$(PYTEST) -m "not slow"

test-all: .venv/test
	$(BIN)/$(PYTEST)

test-cpus: .venv/test
	$(BIN)/python -m tests.cpus -n 2 --dist worksteal

test-oldest: .venv-oldest/test
	.venv-oldest/bin/$(PYTEST)

test-matrix:
	$(PYTHON) .ci/matrix.py .venv-matrix

# Emulation is about ten times slower than an arm64 machine: only tests whose results depend on the CPU are run.
# Tests of the cache, of other hosts, of far starts and of code that users compile are left out: they take long, and
# arithmetic has no part in them that the others do not test.
ARM_TESTS := tests/kernels tests/functional tests/solvers
ARM_IGNORED := --ignore-glob='tests/kernels/test_cache*' --ignore=tests/kernels/test_hosts.py \
	--ignore=tests/kernels/test_compiling.py --ignore=tests/solvers/test_far_starts.py
test-arm: .venv-arm/test
	NUMBA_CACHE_DIR=$(CURDIR)/.venv-arm/cache .venv-arm/usr/bin/python -m $(PYTEST) -m "not slow" $(ARM_TESTS) $(ARM_IGNORED)

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

notebooks: .venv/test
	$(BIN)/python docs/notebooks/execute.py

test-cuda: .venv-cuda/test
	.venv-cuda/bin/pytest -n 2 tests/gpu

# Without a driver the smaller environment is enough: the tests are skipped.
GPU := $(if $(shell command -v nvidia-smi 2>/dev/null),.venv-gpu,.venv-cuda)
test-gpu: $(GPU)/test
	$(GPU)/bin/pytest -rs -m gpu tests/gpu
	sanitizer=$$(command -v compute-sanitizer || find $(GPU) -name compute-sanitizer -type f -perm -u+x | head -n 1); \
	if [ -z "$$sanitizer" ]; then echo "compute-sanitizer is not installed: skipped"; \
	else "$$sanitizer" --error-exitcode 1 --target-processes all $(GPU)/bin/pytest -m gpu tests/gpu; fi
	$(GPU)/bin/python -m perf.gpu

cuda-report: .venv-cuda/test
	.venv-cuda/bin/python -m perf.cuda_report

release-check:
	$(PYTHON) .ci/release.py dist

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

.venv-arm/test: .venv/bin/python pyproject.toml .ci/arm.py
	$(BIN)/python .ci/arm.py .venv-arm
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
	rm -rf site .venv .venv-oldest .venv-matrix .venv-arm .venv-cuda .venv-gpu .numba_cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
