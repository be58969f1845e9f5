# Every target installs what it needs into .venv. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help dev fmt lint browser test docs docs-check bench coverage-matrix drift-table check demo clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

.venv/installed: pyproject.toml setup.py mlrepro/comparators/kernel.c mlrepro/probe/preload.c $(wildcard mlrepro/probe/preload/*.h)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@# setuptools warns of every editable install
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

dev: .venv/installed  ## install mlrepro and its development tools into .venv

fmt: dev  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --exit-zero --quiet .

lint: dev  ## format, lint, types and import contracts, without changing anything
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

browser: dev  ## find a browser for the tests of the report's page; as root on Debian, install one
	@$(BIN)/python -m tests.present.browser

test: dev browser  ## install and run all tests
	$(BIN)/pytest -q --numprocesses 2

docs: dev  ## write the generated parts of the documentation
	$(BIN)/python docs/generate.py

docs-check: dev  ## fail where the documentation is older than the code
	$(BIN)/python docs/generate.py --check

bench: dev  ## measure what mlrepro costs, beside the bare command and DVC
	$(BIN)/python benchmarks/run_all.py

coverage-matrix: dev  ## show which ways to read and write each observer sees
	$(BIN)/python -m tests.coverage.matrix

drift-table: dev  ## show what moves a boosted model, how far, and whether the report names it
	$(BIN)/python -m tests.drifttable.table

check: lint test docs-check  ## all that must hold before a commit

demo: dev  ## train, push, clone as a colleague, rebuild, and read the drift report
	$(BIN)/python examples/demo.py

clean:  ## remove .venv and what the tools left
	rm -rf .venv .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
