# The names a person uses; .ci/run calls the same ones. Each builds .venv when it is missing or older than the lock.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo $(BIN)/uv)

.PHONY: demo test lint check lock

demo: $(STAMP)
	$(BIN)/clipmine demo

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy --strict

check: lint test

# uv installs from a linked cache, so a second .venv costs seconds; without uv on PATH, pip brings it into .venv.
# clip-retrieval's client and web front are tested against our service. They need requests alone, while the package's
# pins (numpy below 2, pyarrow below 16, ...) have no solution together with ours: so it comes without dependencies.
$(STAMP): requirements.lock pyproject.toml Makefile
	test -x $(BIN)/python || if test $(UV) = uv; then uv venv --quiet --python 3.11 .venv; else $(PYTHON) -m venv .venv; fi
	test $(UV) = uv || test -x $(UV) || $(BIN)/python -m pip install --quiet uv
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	$(UV) pip install --quiet --python $(BIN)/python --no-deps clip-retrieval==2.45.0
	touch $@

# Names and versions only: where packages come from is the installer's own setting.
lock:
	$(UV) pip compile --quiet --universal --python-version 3.11 --extra spark --extra dev \
	    --no-header --no-annotate --no-emit-index-url pyproject.toml --output-file requirements.lock
