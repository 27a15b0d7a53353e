# make demo | test | check | bench | lock. Everything runs in .venv, installed from the hashed lock.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
CORES ?= 2
# Without byte code every job would compile all that it imports again.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: demo test test-long check bench lint types docs lock install install-dev install-bench install-slurm clean

install: .venv/.run
install-dev: .venv/.dev
install-bench: .venv/.bench
# On the login node of a Slurm cluster: the executor plugin as well.
install-slurm: .venv/.slurm

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "implantflow needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { echo "python3 -m venv failed: on Debian, apt-get install python3-venv"; rm -rf .venv; exit 1; }

# uv reads the same hashed lock as pip and is several times faster; without it pip does.
.venv/.run: requirements/run.txt requirements/uv.txt pyproject.toml | .venv/bin/python
	@scripts/install.sh requirements/run.txt
	@touch $@

.venv/.slurm: requirements/slurm.txt requirements/uv.txt pyproject.toml | .venv/bin/python
	@scripts/install.sh requirements/slurm.txt
	@touch .venv/.run $@

.venv/.dev: requirements/dev.txt requirements/uv.txt pyproject.toml | .venv/bin/python
	@scripts/install.sh requirements/dev.txt
	@touch .venv/.run $@

# What the benches compare with, where it comes as a package.
.venv/.bench: requirements/bench.txt requirements/uv.txt pyproject.toml | .venv/bin/python
	@scripts/install.sh requirements/bench.txt
	@touch .venv/.run .venv/.dev $@

demo: install
	@$(BIN)/snakemake report --cores $(CORES) --config cases=demo
	@$(BIN)/python -m implantflow times results/demo
	@echo "report: $(CURDIR)/results/demo/report/index.html"

lint: install-dev
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/snakefmt --check --compact-diff Snakefile rules
types: install-dev
	$(BIN)/mypy

# The inner loop: lint, types and the fast tests.
check: lint types
	$(BIN)/python -m pytest -n 2 -m "not slow and not e2e"

# System packages come while ours are installed and the code is checked.
test:
	@scripts/install_system.sh & system=$$!; \
	  $(MAKE) --no-print-directory lint types; checked=$$?; wait $$system && exit $$checked
# Whole cases and Slurm's faults, which mostly wait, run beside all others: neither core stands idle (tests/conftest.py).
	$(BIN)/python -m pytest -n 2 -m "not long_e2e" --durations=25

# Whole cases more than once: one core against two, without the truth, through a closed gate.
test-long: install-dev
	$(BIN)/python -m pytest -m long_e2e --durations=10

bench: install-bench
	$(BIN)/python -m tests.bench.run

docs: install
	$(BIN)/python -m implantflow config-docs

# Lock files carry hashes, no index address and no download URL.
lock:
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -q -o requirements/run.txt
	$(BIN)/uv pip compile pyproject.toml --extra slurm -c requirements/run.txt --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements/slurm.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra slurm -c requirements/run.txt --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements/dev.txt
	$(BIN)/uv pip compile pyproject.toml --extra bench --extra dev --extra slurm -c requirements/dev.txt --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements/bench.txt

clean:
	rm -rf .snakemake $${XDG_CACHE_HOME:-$$HOME/.cache}/implantflow/kernels data/simulated data/template results/demo results/tiny results/vhf
