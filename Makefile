# Two commands for a fresh machine: `make train` (the main job) and `make test`. Each sets up all it needs.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
export PYTHONWARNINGS ?=

.PHONY: help train test pytest docs test-slow test-models test-gpu gpu test-oldest release-check lint format types clean

help:
	@echo "make train        compare the methods on real handwritten digits (minutes on two CPU cores)"
	@echo "make test         lint, type check and test"
	@echo "make docs         the documentation site in docs/_build/html; a warning is an error"
	@echo "make test-slow    the tests that take longer (compilation by Inductor, long runs)"
	@echo "make test-models  hidden mixing on one network of each family of timm, torchvision and transformers (hours)"
	@echo "make test-gpu     the tests that need a CUDA device"
	@echo "make gpu          check, measure and train on a GPU in 9 minutes, with $(PYTHON) as it is; DATA=, OUT=, GPU_OPTIONS="
	@echo "make test-oldest  the tests with the oldest torch that is supported, in an environment of its own"
	@echo "make release-check  the packages, built, checked and used in an empty environment"
	@echo "make format       format the code"
	@echo "make clean        remove the virtual environment and caches"

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.train: $(BIN)/uv pyproject.toml $(CONSTRAINTS)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint $(CONSTRAINTS) --editable ".[train]"
	@touch $@

$(VENV)/.dev: $(BIN)/uv pyproject.toml $(CONSTRAINTS)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint $(CONSTRAINTS) --editable ".[dev]"
	@touch $@

# each run is a process: where Python is told to keep no compiled code, each would compile torch anew, 5 s of it
train: export PYTHONDONTWRITEBYTECODE =
train: $(VENV)/.train
	$(BIN)/alignmixup compare --jobs 2

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: $(VENV)/.dev
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

types: $(VENV)/.dev
	$(BIN)/mypy

test: lint types pytest docs

# one thread for each of two workers: many small tensors, where threads only get in each other's way
pytest: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup

test-slow: $(VENV)/.dev
	$(BIN)/pytest -m "slow and not gpu"

test-models: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m models -n 2

test-gpu: $(VENV)/.dev
	$(BIN)/pytest -m gpu

# the source distribution and the wheel, checked and used in an empty environment, by every Python that is installed here
release-check: $(VENV)/.dev
	rm -rf dist
	$(BIN)/uv build --quiet --out-dir dist
	$(BIN)/uv tool run --quiet twine check --strict dist/*
	@for version in 3.11 3.12 3.13; do \
	  $(BIN)/uv python find --quiet --no-python-downloads $$version > /dev/null 2>&1 || { echo "Python $$version is not here"; continue; }; \
	  $(BIN)/uv run --quiet --no-project --isolated --no-python-downloads --python $$version --with dist/*.whl python examples/first_batch.py || exit 1; \
	done

# installs nothing: a machine that is lent for minutes brings its own torch
gpu:
	PYTHONPATH=src:. $(PYTHON) -m benchmarks.gpu --data $(or $(DATA),data) --out $(or $(OUT),runs/gpu) $(GPU_OPTIONS)

test-oldest:
	$(MAKE) VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt pytest

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-oldest .mypy_cache .ruff_cache .pytest_cache build dist
