# emeterai. `make` lists the recipes. Variables: FILE, PORT, SANDBOX_PORT, ROOM_PORT, COUNTER_PORT, HOST, ONCE=1, WHAT.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FILE ?= samples/surat-pernyataan.pdf
WHAT ?= seal ledger stamp
export PIP_DISABLE_PIP_VERSION_CHECK = 1
ifdef PORT
export EMETERAI_PORT = $(PORT)
endif
ifdef SANDBOX_PORT
export EMETERAI_SANDBOX_PORT = $(SANDBOX_PORT)
endif
ifdef ROOM_PORT
export EMETERAI_ROOM_PORT = $(ROOM_PORT)
endif
ifdef COUNTER_PORT
export EMETERAI_COUNTER_PORT = $(COUNTER_PORT)
endif
ifdef HOST
export EMETERAI_HOST = $(HOST)
endif

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test lint format bench clean lock

help:  ## list the recipes
	@echo "Use:"
	@sed -n 's/^\(run\|setup\|clean\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST))
	@echo "Work on it:"
	@sed -n 's/^\(test\|lint\|format\|bench\|lock\|setup-dev\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.ready  ## a virtual environment with everything the service needs, by hash
setup-dev: $(VENV)/.ready-dev  ## the same and what the tests need

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "emeterai needs Python 3.11 or later: make PYTHON=python3.12 ..."; exit 1; }
	@echo "setting up (once, about a minute) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing (Debian: apt install python3-venv)"; exit 1; }

$(VENV)/.ready: requirements.lock pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --no-warn-script-location --root-user-action=ignore --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --root-user-action=ignore --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.ready-dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --no-warn-script-location --root-user-action=ignore --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --root-user-action=ignore --no-build-isolation --no-deps -e .
	@touch $@ $(VENV)/.ready

run: export EMETERAI_LOG_LEVEL ?= warning
run: setup  ## start the service, stamp the sample (or FILE=...), verify it, keep serving; ONCE=1 exits
	@exec $(BIN)/python -m emeterai serve --walk "$(FILE)" $(if $(ONCE),--once)

test: setup-dev  ## all tests
	@$(BIN)/python -m pytest -n auto --dist loadfile

lint: setup-dev  ## ruff, mypy --strict, import-linter, shape tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest tests/shape

format: setup-dev  ## put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup-dev  ## the numbers that matter, each with its yardstick; WHAT=crash: 15 minutes under kill -9
	@for what in $(WHAT); do $(BIN)/python -m emeterai bench $$what || exit 1; done

lock:  ## make the lock files anew from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml --group build -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml --extra dev --group build -c requirements.lock -o requirements-dev.lock

clean:  ## stop nothing, delete everything that was made here: data, environment, caches
	@[ ! -x $(BIN)/python ] || $(BIN)/python -m emeterai forget || true
	@rm -rf var $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
