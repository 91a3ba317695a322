# Two commands on a fresh machine with Python 3.11 or newer: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check

.PHONY: help demo test test-slow lint types check-leaderboard lock bench clean

help:
	@echo "make demo       a small true Darcy Flow set, a WRN trained on it, its place among the paper's methods (two to four minutes)"
	@echo "make test       the tests"
	@echo "make test-slow  the tests that take longer"
	@echo "make lint       ruff and the layer check"
	@echo "make types      mypy --strict on package and tests"
	@echo "make check-leaderboard  results validated, entries scored again, the published table compared with its lock"
	@echo "make lock       write the lock of the published table anew"
	@echo "make bench      benchmarks, as ratios"
	@echo "make clean      remove the environment and what the commands wrote"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"nas360 needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. Try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# a stamp is written after its installation succeeded, so that an interrupted one is done again
$(VENV)/.plots: pyproject.toml | $(BIN)/python
	$(PIP) -e ".[plots]"
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) -e ".[dev]"
	@touch $@ $(VENV)/.plots

demo: $(VENV)/.plots
	$(BIN)/nas360 demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow -n 2 $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

check-leaderboard: $(VENV)/.dev
	$(BIN)/nas360 validate leaderboard/results --format github
	$(if $(wildcard leaderboard/results/entries/*/*/result.json),$(BIN)/nas360 rescore leaderboard/results/entries --check)
	$(BIN)/python -m nas360.leaderboard.submission.lock --check

lock: $(VENV)/.dev
	$(BIN)/python -m nas360.leaderboard.submission.lock --write

bench: $(VENV)/.dev
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) build dist *.egg-info demo_out
