# `make demo` and `make test` are all a newcomer needs: each makes its own virtual environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
# Tests sync a gigabyte of small files: in memory where there is room, and programs may be run from there
SCRATCH = $(shell grep -s ' /dev/shm ' /proc/mounts | grep -v noexec | grep -q rw && \
	df -Pk /dev/shm | awk 'NR == 2 && $$4 > 4000000 { print "/dev/shm" }')

.PHONY: help demo test lint pytest lowest faults bench docs clean

help:
	@echo "make demo    install into $(VENV), run the pipeline on real prices, show the archive"
	@echo "make test    install into $(VENV), then ruff, mypy, import-linter, zizmor and pytest"
	@echo "make lowest  the tests of the archive with the oldest packages that pyproject.toml admits (ten minutes)"
	@echo "make faults  the fault tests with their full counts (an hour)"
	@echo "make bench   measure, and write benchmarks/RESULTS.md (half an hour)"
	@echo "make docs    docs/cli.md, made from the program's own help"
	@echo "make clean   remove what the other targets made"

$(BIN)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --group dev --editable ".[all]"
	@touch $@

demo: $(BIN)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro
	$(BIN)/runvault list --limit 10

test: $(BIN)/.installed lint pytest

lint: $(BIN)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --quiet examples/github-*.yml

pytest: $(BIN)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTEST_DEBUG_TEMPROOT="$(SCRATCH)" $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable ".[all]"
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python hypothesis pytest pytest-xdist
	PATH="$(CURDIR)/$(LOWEST)/bin:$$PATH" PYTEST_DEBUG_TEMPROOT="$(SCRATCH)" $(LOWEST)/bin/pytest -n 2 --dist loadfile \
		-m "not faults" tests/unit tests/archive tests/stores tests/git

faults: $(BIN)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTEST_DEBUG_TEMPROOT="$(SCRATCH)" RUNVAULT_FAULTS=full $(BIN)/pytest -m faults

bench: $(BIN)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks

docs: $(BIN)/.installed
	$(BIN)/python -m runvault.cli.reference > docs/cli.md

clean:
	rm -rf $(VENV) $(LOWEST) build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
