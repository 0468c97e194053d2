# `make demo` and `make test` need Python 3.10+ and make; they set up everything else in .venv.

PYTHON ?= python3
python := .venv/bin/python
installed := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help env demo test slow lint types bench

help:
	@echo 'make demo    adapt a speech recogniser to a new speaker, on real speech where it is found (about five minutes)'
	@echo 'make test    environment and tests'
	@echo 'make env     environment only: .venv with the package and its tools; PYTHON=python3.12 chooses the interpreter'
	@echo 'make lint    ruff: rules and format'
	@echo 'make types   mypy'
	@echo 'make slow    the tests that take minutes'
	@echo 'make bench   the benchmarks, one after the other'

env: $(installed)

# The stamp is written last: an installation that was interrupted is taken up again.
$(installed): pyproject.toml
	@$(python) -m pip --version >/dev/null 2>&1 || { \
	  fail() { echo "make: $$1" >&2; exit 2; }; \
	  command -v "$(PYTHON)" >/dev/null || \
	    fail "no '$(PYTHON)' found; install Python 3.10 or later, or run make PYTHON=/path/to/python3"; \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    fail "Python 3.10 or later is needed, '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1); run make PYTHON=/path/to/python3"; \
	  "$(PYTHON)" -m venv .venv || \
	    fail "'$(PYTHON) -m venv' failed; on Debian and Ubuntu install python3-venv first"; }
	@echo 'installing the package and its tools into .venv (several GB with torch; the first time takes minutes)'
	$(python) -m pip install --disable-pip-version-check --no-input $(if $(CI),--quiet) -e '.[dev]'
	@touch $@

demo: env
	PYTHON="$(CURDIR)/$(python)" recipes/speaker_adaptation/demo.sh

# Side by side, but not on every core of a large machine: each process holds torch.
test: env
	$(python) -m pytest -q -n auto --maxprocesses 4 --dist worksteal

slow: env
	$(python) -m pytest -q -m slow

lint: env
	$(python) -m ruff check .
	$(python) -m ruff format --check .

types: env
	$(python) -m mypy

bench: env
	@set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(python) "$$script"; done
