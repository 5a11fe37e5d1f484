# The names a person uses; .ci/run calls the same ones. Each builds .venv when it is missing or older than the lock.
# The newest supported Python that is installed; `make PYTHON=python3.12 test` names another one.
PYTHON ?= $(shell for version in 3.14 3.13 3.12 3.11; do \
    if python$$version -c '' 2>/dev/null; then echo python$$version; break; fi; done)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo $(BIN)/uv)

.PHONY: demo test lint check lock smoke

# `make demo DEMO="--scenes 2000"` is a quicker one.
demo: $(STAMP)
	$(BIN)/clipmine demo $(DEMO)

# Three processes, also on two cores: much of the tests' time is waiting, for Ray, Spark, browsers and time-outs.
# tests/conftest.py says which tests a process runs together, and which groups begin first.
test: $(STAMP)
	$(BIN)/python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy --strict

check: lint test

# Runs every command once on a small corpus: a quick check that a Python version works.
smoke: $(STAMP)
	$(BIN)/python -m tests.smoke

# uv installs from a linked cache, so a second environment costs seconds; without uv on PATH, pip brings it into $(VENV).
# clip-retrieval's client and web front are tested against our service. They need requests alone, while the package's
# pins (numpy below 2, pyarrow below 16, ...) have no solution together with ours: so it comes without dependencies.
$(STAMP): requirements.lock pyproject.toml Makefile
	@test -n "$(PYTHON)" || test $(UV) = uv || { \
	    echo "make: no Python 3.11 to 3.14 found; install one, or uv (which downloads one), or name it: make PYTHON=..." >&2; exit 2; }
	test -x $(BIN)/python || if test $(UV) = uv; then uv venv --quiet --python "$(or $(PYTHON),>=3.11,<3.15)" $(VENV); \
	    else $(PYTHON) -m venv $(VENV); fi
	test $(UV) = uv || test -x $(UV) || $(BIN)/python -m pip install --quiet uv
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	$(UV) pip install --quiet --python $(BIN)/python --no-deps clip-retrieval==2.45.0
	touch $@

# Names and versions only: where packages come from is the installer's own setting.
lock: $(STAMP)
	$(UV) pip compile --quiet --universal --python-version 3.11 --extra spark --extra dev \
	    --no-header --no-annotate --no-emit-index-url pyproject.toml --output-file requirements.lock
