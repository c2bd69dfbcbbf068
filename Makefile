# Needs Python 3.10 or later; the rest goes into .venv, in the versions of constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
GROUPS := build test check bench fuzz lock mutants
SECONDS := 60
PURE := statews/errors.py,statews/policy.py,statews/lifecycle/*,statews/protocol/*

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help .venv demo test check format diagrams bench conformance model mutants fuzz constraints clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[.a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

.venv: .venv/.test .venv/.check ## Set up the environment for development

.venv/.base: pyproject.toml constraints.txt
	@$(PYTHON) tools/environments.py install

.venv/.%: .venv/.base
	@$(PYTHON) tools/environments.py install $*

demo: .venv/.base ## Watch a connection live through lost links
	@$(BIN)/statews demo

test: export PYTHONDONTWRITEBYTECODE = # each worker and each program would compile all anew
test: .venv/.test ## Run the tests with coverage, then on every other supported Python found
	$(BIN)/pytest --cov --numprocesses auto --dist worksteal
	$(BIN)/coverage report --include='$(PURE)' --fail-under=100
	@$(BIN)/python tools/environments.py test

check: .venv ## Check format, lint, types, layers and diagrams
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/basedpyright
	PATH="$(CURDIR)/$(BIN):$$PATH" basedpyright --verifytypes statews --ignoreexternal
	$(BIN)/lint-imports
	$(BIN)/python -m statews diagram --check diagrams

format: .venv/.check ## Format the code and mend what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

diagrams: .venv/.base ## Draw the machines anew
	$(BIN)/python -m statews diagram --out diagrams

bench: .venv/.base ## Measure statews beside other libraries
	$(BIN)/python -m benchmarks.environment

conformance: .venv/.base ## Run Autobahn's test suite, for 10 to 20 minutes
	$(BIN)/python conformance/run.py

model: .venv/.test ## Search the session protocol at full bounds and beyond, for 2 to 5 minutes
	$(BIN)/python -m tests.model

mutants: .venv/.test .venv/.mutants ## Change what decides and see the tests notice, for 15 minutes
	$(BIN)/python tools/mutants.py

fuzz: .venv/.base .venv/.fuzz ## Fuzz what peers say, for a minute (or SECONDS=600)
	$(BIN)/python tools/fuzz.py --seconds $(SECONDS)

constraints: .venv/.lock ## Resolve constraints.txt anew
	UV_CUSTOM_COMPILE_COMMAND='make constraints' UV_PYTHON_DOWNLOADS=never \
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.10 --no-annotate \
		--upgrade --all-extras $(addprefix --group ,$(GROUPS)) --output-file constraints.txt

clean: ## Remove all that was made
	rm -rf .venv .venv-* .*_cache .hypothesis .coverage .fuzz dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
