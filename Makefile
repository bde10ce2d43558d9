# The only door: every way to build, test and run this repository is a target here.
# `make` alone prints help. Nothing needs to be installed but Python 3.11+, git and make.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .tools/bin/uv
UV_READY := .tools/.uv-$(UV_VERSION)
BIN := .venv/bin
MEMBERS := shared services/worker_scaler services/dags_agent services/standalone_init services/log_forwarder local
SERVICES := worker-scaler dags-agent standalone-init log-forwarder
PYSOURCES := $(addsuffix /src,$(MEMBERS)) airflow_side/src tests
export PYTHONDONTWRITEBYTECODE :=
export UV_PROJECT_ENVIRONMENT := .venv
export UV_LINK_MODE ?= copy

# A python that runs, and not one that a half-removed environment leads to: nothing may be installed into that.
is-venv = $(1) -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null

.PHONY: help
help: ## print this help
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z%-]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-18s %s\n", $$1, $$2}'

# ---------------------------------------------------------------- set-up
.PHONY: setup
setup: .venv/.ready ## make the development environment (.venv) from the lock

$(UV_READY):
	@echo "setup: installing uv $(UV_VERSION) into .tools"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv .tools || { rm -rf .tools; \
	  echo "setup: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

.venv/.ready: $(UV_READY) locks/workspace.txt $(addsuffix /pyproject.toml,$(MEMBERS))
	@echo "setup: installing the locked packages into .venv"
	@$(call is-venv,$(BIN)/python) || $(UV) venv --quiet --clear --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes locks/workspace.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps $(addprefix --editable ./,$(MEMBERS))
	@touch $@

.airflow/.ready: $(UV_READY) airflow_side/locks/airflow-3.3.txt airflow_side/pyproject.toml
	@echo "setup: installing Apache Airflow and airflow-ecs from their lock into .airflow (about a minute the first time)"
	@$(call is-venv,.airflow/bin/python) || $(UV) venv --quiet --clear --python $(PYTHON) .airflow
	@$(UV) pip sync --quiet --compile-bytecode --python .airflow/bin/python --require-hashes airflow_side/locks/airflow-3.3.txt
	@$(UV) pip install --quiet --compile-bytecode --python .airflow/bin/python --no-deps --editable ./airflow_side
	@touch $@

.PHONY: lock
lock: $(UV_READY) ## resolve all dependencies again and write the locks (see docs/adr/0001)
	@$(UV) lock --upgrade --quiet
	@$(MAKE) --no-print-directory export-locks
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  airflow_side/pyproject.toml --extra airflow --output-file airflow_side/locks/airflow-3.3.txt

.PHONY: export-locks
export-locks: $(UV_READY) ## write the locks again after a pyproject.toml changed, keeping versions
	@$(UV) lock --quiet
	@$(UV) export --quiet --frozen --all-packages --all-extras --no-emit-workspace --no-header --no-annotate --output-file locks/workspace.txt
	@for service in $(SERVICES); do \
	  $(UV) export --quiet --frozen --package $$service --no-dev --no-emit-workspace --no-header --no-annotate --output-file locks/$$service.txt; \
	done

# ---------------------------------------------------------------- the two commands
.PHONY: demo
demo: .venv/.ready .airflow/.ready ## run the main job on real Airflow, on this machine alone
	@$(BIN)/airflow-ecs-demo $(DEMO_ARGS)

.PHONY: test
test: .venv/.ready .airflow/.ready ## run every test a machine without Docker can run
	@echo "test: units and integrations, in parallel"
	@$(BIN)/python -m pytest -m "not system" --numprocesses auto $(PYTEST_ARGS)
	@echo "test: whole systems on real Airflow, one after the other"
	@$(BIN)/python -m pytest -m system $(PYTEST_ARGS)

test-%: .venv/.ready ## run the tests of one folder, e.g. make test-worker_scaler
	@$(BIN)/python -m pytest tests/$* $(PYTEST_ARGS)

# ---------------------------------------------------------------- checks
.PHONY: check
check: fmt-check lint types arch docs-check test ## all of it: format, lint, types, architecture, docs drift, tests (what CI runs)

.PHONY: fmt
fmt: .venv/.ready ## format the code
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix-only .

.PHONY: fmt-check
fmt-check: .venv/.ready ## check the format
	@echo "check: format"
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff . ; exit 1; }

.PHONY: lint
lint: .venv/.ready ## lint code and spelling
	@echo "check: lint"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/codespell

.PHONY: types
types: .venv/.ready ## check types (mypy, strict)
	@echo "check: types"
	@$(BIN)/mypy --no-error-summary $(PYSOURCES)

.PHONY: arch
arch: .venv/.ready ## check who may import whom, and that each member declares what it imports
	@echo "check: architecture"
	@$(BIN)/lint-imports --config pyproject.toml --no-cache > .venv/lint-imports.txt || { cat .venv/lint-imports.txt; exit 1; }
	@for member in $(MEMBERS); do \
	  own=$$(cd $$member/src && ls -d */ | tr -d / | paste -sd,); \
	  (cd $$member && "$(CURDIR)/$(BIN)/deptry" --no-ansi --known-first-party $${own//,/ --known-first-party } --extend-exclude 'src/demo/dags' . > "$(CURDIR)/.venv/deptry.txt" 2>&1) \
	    || { echo "$$member:"; cat .venv/deptry.txt; exit 1; }; \
	done

.PHONY: docs
docs: .venv/.ready ## generate docs/reference from the code
	@for service in $(SERVICES); do \
	  $(BIN)/$$service settings --markdown > docs/reference/$$service.md; \
	done

.PHONY: docs-check
docs-check: .venv/.ready ## check that docs/reference is what the code says
	@echo "check: docs drift"
	@for service in $(SERVICES); do \
	  $(BIN)/$$service settings --markdown | diff -u docs/reference/$$service.md - || { echo "docs/reference/$$service.md is stale: run 'make docs'"; exit 1; }; \
	done

# ---------------------------------------------------------------- tidy up
.PHONY: clean
clean: ## remove everything the Makefile made
	@rm -f .venv/.ready .airflow/.ready
	@rm -rf .demo
	@test ! -x $(BIN)/python || $(BIN)/python -c 'from local_cloud.postgres_data import sweep_all; sweep_all()' || true
	@rm -rf .venv .tools .airflow .demo uv.lock .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@find . -name '*.egg-info' -type d -prune -exec rm -rf {} +
