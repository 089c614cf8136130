# Every target sets up what it needs by itself: Python 3.11 or newer and git are enough.
#
#   make run      LiCl in water, from a packed box to a report page   (BUDGET=minutes of sampling)
#   make test     the test suite                                      (PYTEST_ARGS=...)
#   make check    format, lint and types
#   make docs     the documentation, into site/
#   make clean    remove what was built or cached; make distclean also removes the environment
#
#   PYTHON=...        the interpreter that makes the environment
#   TORCH_INDEX=...   where PyTorch is taken from, if not from pip's own configuration; for a
#                     machine without a GPU: https://download.pytorch.org/whl/cpu

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
VENV ?= .venv
TORCH_VERSION ?= 2.13.0
TORCH_INDEX ?=
BUDGET ?=
CONFIG ?= examples/licl.toml
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check --no-input install -qq --no-compile
TORCH := torch==$(TORCH_VERSION)

.DEFAULT_GOAL := help
.PHONY: help venv run test check check-format check-lint check-types format docs clean distclean
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

venv: $(VENV)/.installed-dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "bjerrum needs Python 3.11 or newer, $(PYTHON) is not: make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV)

# PyTorch first, and named again beside every later install: nothing may exchange it.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing PyTorch $(TORCH_VERSION) into $(VENV)"
	@$(PIP_INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@echo "installing bjerrum and what it runs on"
	@$(PIP_INSTALL) $(TORCH) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing the tools for tests, checks and documentation"
	@$(PIP_INSTALL) $(TORCH) -e '.[dev]'
	@touch $@

run: $(VENV)/.installed
	@$(BIN)/bjerrum run $(CONFIG) $(if $(BUDGET),--budget-minutes $(BUDGET))

test: venv
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

check: check-format check-lint check-types

check-format: venv
	$(BIN)/ruff format --check .

check-lint: venv
	$(BIN)/ruff check .

check-types: venv
	$(BIN)/mypy

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: venv
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "documentation: site/index.html"

clean:
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) src/*.egg-info
