# make demo: see it work. make test: prove it. Both need git, make and Python >= 3.11, no more.
.PHONY: demo test lint faults bench matrix django-suite browser screenshots clean
.DEFAULT_GOAL := demo
# Two targets never install into the venv at once.
.NOTPARALLEL:

VENV ?= .venv
BIN := $(VENV)/bin
# Is there as long as the venv is whole: also a kill -9 leaves none that is half made.
MADE := $(VENV)/made.stamp
# PYTHON=/path/to/python3.13 make test chooses another one, and makes the venv anew with it.
CHOSEN := $(filter-out undefined,$(origin PYTHON))
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

# make faults SCENARIO=old_dump runs what has that in its name; its ledger is printed
faults: $(VENV)/dev.stamp
ifeq ($(SCENARIO),)
	@UNCUT_MACHINE_STEPS=20000 $(BIN)/python -m pytest -q --timeout 1800 tests/broker/test_machine.py
endif
	@$(BIN)/python -m pytest -q -s -m faults tests/faults tests/broker/test_planted_faults.py \
		tests/worker/test_atomic.py \
		tests/worker/test_cancel_races.py \
		tests/worker/test_graphs.py \
		tests/worker/test_workflows.py \
		$(if $(SCENARIO),-k "$(SCENARIO)")

# make bench CASES="never-1 idle*" runs some of them, QUICK=1 a smoke test; docs/benchmarks.md
bench: $(VENV)/dev.stamp
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) "$(CASES)"

# make matrix ROWS="py3.12 django6.0" runs those whose names hold these words.
matrix: $(VENV)/dev.stamp
	@.ci/matrix $(ROWS)

django-suite: $(VENV)/dev.stamp
	@$(BIN)/python -m tests.contract.django_suite

# A real browser looks at every page; without Chromium it says so and skips.
browser: $(VENV)/browser.stamp
	@$(BIN)/python -m pytest -q -rs -m browser tests/browser

# The docs' pictures, from the same scene; look at each.
screenshots: $(VENV)/browser.stamp
	@UNCUT_SCREENSHOTS=docs/images $(BIN)/python -m pytest -q -rs -m browser \
		tests/browser/test_screenshots.py

WHICH := -c 'import os, sys; print(os.path.realpath(sys.executable))'
# Empty where the venv's Python is gone.
OURS := $(if $(wildcard $(MADE)),$(shell $(BIN)/python $(WHICH) 2>/dev/null))
ifneq ($(OURS),$(if $(CHOSEN),$(shell $(PYTHON) $(WHICH) 2>/dev/null),$(or $(OURS),none)))
.PHONY: $(MADE)
endif

$(MADE):
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or later is needed; say where: PYTHON=/path/to/it make."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) has no venv or no ensurepip; on Debian: apt install python3-venv."; \
		exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON), $$($(PYTHON) --version) ..."
	@rm -f $@
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# What pip was doing when it was killed can't be told from what it finished: without its stamp the
# venv is made anew. What it refuses to do changes nothing.
INSTALL = @rm -f $(MADE); $(PIP) install --editable '.[$(1)]'; code=$$?; touch $(MADE); exit $$code

$(VENV)/demo.stamp: setup.cfg pyproject.toml $(MADE)
	$(call INSTALL,demo)
	@touch $@

$(VENV)/dev.stamp: setup.cfg pyproject.toml $(MADE)
	$(call INSTALL,dev)
	@touch $@ $(VENV)/demo.stamp

$(VENV)/browser.stamp: $(VENV)/dev.stamp
	$(call INSTALL,browser)
	@touch $@

clean:
	rm -rf $(VENV) .venv-* var build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
