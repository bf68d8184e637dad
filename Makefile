# `make run` and `make test` set up everything they need. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH_VENV := .venv-bench
UV_VERSION := 0.13.9
UV := $(BIN)/uv

export PYTHONPATH := include:plugins

.PHONY: help run stop status clean test lint format lock prove chaos bench pythons

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## run the nightly sync on the sample catalog in a real Airflow; PORT, SANDBOX_PORT, AWS_PORT, CATALOG_CONFIG, SANDBOX=off
	@$(BIN)/python -m catalog_local run

stop: $(VENV)/.run ## stop what `make run` started
	@$(BIN)/python -m catalog_local stop

status: $(VENV)/.run ## say what runs
	@$(BIN)/python -m catalog_local status

clean: ## stop, and remove everything that `make run` and the tests left in this folder
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m catalog_local clean; fi
	@rm -rf .local .pytest_cache .mypy_cache .ruff_cache .hypothesis

test: lint ## every test and check that a change needs
	@$(BIN)/python -m pytest tests/unit tests/chaos -n 2 -q
	@$(BIN)/python -m pytest tests/dags tests/integration tests/e2e -q

lint: $(VENV)/.dev ## style, types, the CloudFormation template
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy include plugins
	@$(BIN)/cfn-lint include/cloudformation/*.yaml

format: $(VENV)/.dev ## format the code and mend what can be mended
	@$(BIN)/ruff check -q --fix .
	@$(BIN)/ruff format -q .

lock: $(VENV)/.uv ## compile the pinned requirements from their .in files
	@$(UV) pip compile -q --universal --python-version 3.11 --no-header --no-annotate -o requirements.txt requirements.in
	@$(UV) pip compile -q --universal --python-version 3.11 --no-header --no-annotate -c requirements.txt \
	    -o requirements-dev.txt requirements-dev.in
	@$(UV) pip compile -q --universal --python-version 3.11 --no-header --no-annotate -o requirements-bench.txt requirements-bench.in

prove: $(VENV)/.dev ## the long proofs (the Celery path needs Debian's redis-server)
	@$(BIN)/python -m pytest tests -m prove -q

chaos: $(VENV)/.dev ## play seeded schedules of faults, deaths and edits against the invariants; SCHEDULES=10000 SEED=1
	@$(BIN)/python -m tests.chaos --schedules $(or $(SCHEDULES),10000) --seed $(or $(SEED),1)

bench: $(VENV)/.run $(BENCH_VENV)/.done ## measure against peers and floors; BENCH="--size small --case a,b --json FILE" chooses
	@PYTHONPATH=include $(BIN)/python -m tests.bench $(BENCH)

pythons: $(VENV)/.uv ## the unit and DAG tests on every supported Python that this machine has
	@tests/pythons.sh

# --- the virtual environment, made once and again when the requirements change

$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	    { echo "Python 3.11, 3.12 or 3.13 is needed; $$($(PYTHON) --version) was found. Try: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(VENV)/.run: $(VENV)/.uv requirements.txt
	@echo "Installing what requirements.txt pins …"
	@$(UV) pip install -q --compile-bytecode --python $(BIN)/python -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.txt
	@echo "Installing what requirements-dev.txt pins …"
	@$(UV) pip install -q --compile-bytecode --python $(BIN)/python -r requirements-dev.txt
	@touch $@

$(BENCH_VENV)/.done: $(VENV)/.uv requirements-bench.txt
	@echo "Installing the opponents that requirements-bench.txt pins …"
	@$(UV) venv -q --clear --python $(BIN)/python $(BENCH_VENV)
	@$(UV) pip install -q --compile-bytecode --python $(BENCH_VENV)/bin/python -r requirements-bench.txt
	@touch $@
