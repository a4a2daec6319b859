# make env | demo | test | test-real | lint | docs | bench NAME=... | clean
# The environment is a .venv in the checkout: made once, brought up to date when pyproject.toml changes.

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
DEMO := runs/demo
CASES ?= 400

.DELETE_ON_ERROR:
.PHONY: help env demo test test-slow test-real lint format docs bench clean

help:
	@echo 'make env          .venv with everything for development (PYTHON=$(PYTHON))'
	@echo 'make demo         a complete run on synthetic radiographs with pretrained weights, in $(DEMO)'
	@echo 'make test         run the default tests'
	@echo 'make test-real    tests on real data in GRAFTWORK_DATA or ../shared/data; a missing dataset is a visible skip'
	@echo 'make lint         ruff and mypy --strict'
	@echo 'make format       format and fix the code with ruff'
	@echo 'make docs         write docs/reference from the code, then check all docs'
	@echo 'make bench NAME=  run one of benchmarks/; without NAME: list them'
	@echo 'make clean        remove caches, built files and $(DEMO); keep .venv and other runs'

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { \
	  echo 'make: $(PYTHON) is not here. Install Python 3.11 or newer, or name another: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'make: $(PYTHON) is older than Python 3.11. Name another: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo 'make: $(PYTHON) lacks the module venv. On Debian and Ubuntu: apt-get install $(PYTHON)-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

# What a user needs. `make demo` asks for this, the other targets for all extras.
$(VENV)/.user: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --quiet --editable '.[train]'
	@touch $@

$(VENV)/.developer: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --quiet --editable '.[train,test,lite]'
	@touch $(VENV)/.user $@

env: $(VENV)/.developer

demo: $(VENV)/.user
	@rm -rf $(DEMO)
	$(BIN)/python -m graftwork synthesize chest_xray/kermany $(DEMO)/kermany --cases $(CASES)
	$(BIN)/python -m graftwork run chest_xray/kermany_linear-probe --data $(DEMO)/kermany --out $(DEMO)

# One thread for each worker: more would only wait for each other.
test: $(VENV)/.developer
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-slow: $(VENV)/.developer
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n $(WORKERS) --dist worksteal $(ARGS)

test-real: $(VENV)/.developer
	$(BIN)/python -m pytest -m real --timeout 1800 $(ARGS)

lint: $(VENV)/.developer
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: $(VENV)/.developer
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

docs: $(VENV)/.developer
	$(BIN)/python docs/generate.py
	$(BIN)/python -m pytest tests/docs/test_docs.py

bench: $(VENV)/.developer
	@test -n '$(NAME)' || { echo 'make bench NAME=...  one of:'; ls benchmarks | sed -n 's/\.py$$//p'; exit 2; }
	$(BIN)/python benchmarks/$(NAME).py $(ARGS)

clean:
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis $(DEMO)
	find common domains src tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
