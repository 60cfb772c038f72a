# `make demo` and `make test` are all a new machine needs: Debian, Python 3.11 (with venv), make.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
DB ?= assay.db
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test test-all lint bench install install-dev constraints verdicts clean

demo: install
	@$(BIN)/assay run quickstart --db $(DB)
	@$(BIN)/assay leaderboard --db $(DB)
	@$(BIN)/assay report --db $(DB) --out assay-report

test: install-dev lint
	$(BIN)/python -m pytest

test-all: install-dev lint
	$(BIN)/python -m pytest -m "not bench"

bench: install-dev
	$(BIN)/python -m pytest -m bench -s tests/bench

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

verdicts: install # docs/verdicts-*.md, from the recorded runs alone
	@for family in $(notdir $(wildcard docs/recorded/*)); do \
	  rm -f .verdicts.db && $(BIN)/assay import docs/recorded/$$family --db .verdicts.db >/dev/null && \
	  $(BIN)/assay claims $$family --no-record --format markdown --db .verdicts.db > docs/verdicts-$$family.md || exit 1; \
	done; rm -f .verdicts.db*

constraints: # after a dependency was added to pyproject.toml and installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@$(BIN)/python -m tests.pin

install: .venv/.installed
install-dev: .venv/.installed-dev

.venv/.installed: pyproject.toml constraints.txt
	@echo "Installing Assay into .venv (once; a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/.installed-dev: .venv/.installed
	@echo "Installing the development extra ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf .venv build *.egg-info assay-report .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
