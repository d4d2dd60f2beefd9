# make demo: see it work. make test: prove it. Both need git, make and Python >= 3.11, no more.
.PHONY: demo test lint faults bench django-suite clean
.DEFAULT_GOAL := demo
# A half-made venv is removed, and two targets never install into it at once.
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV ?= .venv
BIN := $(VENV)/bin
# PYTHON=/path/to/python3.13 make test chooses another one.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& command -v $$python && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

demo: $(VENV)/demo.stamp
	@$(BIN)/python manage.py demo

test: lint
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile

lint: $(VENV)/dev.stamp
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports >/dev/null || $(BIN)/lint-imports
	@$(BIN)/python -m mypy
	@$(BIN)/python -m django makemigrations --check --dry-run --settings tests.settings

faults: $(VENV)/dev.stamp
	@UNCUT_MACHINE_STEPS=20000 $(BIN)/python -m pytest -q tests/broker/test_machine.py

# make bench CASES="never-1 idle*" runs some of them, QUICK=1 a smoke test; docs/benchmarks.md
bench: $(VENV)/dev.stamp
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) "$(CASES)"

django-suite: $(VENV)/dev.stamp
	@$(BIN)/python -m tests.contract.django_suite

$(VENV)/bin/python:
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or later is needed; say where: PYTHON=/path/to/it make."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) has no venv or no ensurepip; on Debian: apt install python3-venv."; \
		exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: setup.cfg pyproject.toml | $(VENV)/bin/python
	@$(PIP) install --editable '.[demo]'
	@touch $@

$(VENV)/dev.stamp: setup.cfg pyproject.toml | $(VENV)/bin/python
	@$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/demo.stamp

clean:
	rm -rf $(VENV) .venv-* var build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
