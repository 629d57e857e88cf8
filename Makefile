# Everything that people and CI run; `make help` lists it. Each target does the set-up it needs, in this folder and in
# the user's cache folder only. Stamp files remember what is set up, so that later runs start at once.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
# Where it is set, each of the many processes that the tests start compiles all its modules again.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
AZURITE := .cache/azurite
# The stamps live beside what they vouch for: whoever removes a folder removes its stamp.
PYTHON_READY := .venv/.ready
AZURITE_READY := $(AZURITE)/.ready
KUBERNETES_READY := .cache/kubernetes.ready
INTEROP := .cache/interop
INTEROP_READY := $(INTEROP)/.ready
CRD := crds/workforces.yaml
CHART_CRD := helm/workforce-operator/crds/workforces.yaml
CRD_PAGE := docs/reference/workforce.md

# What pytest gets besides the worker processes, for example: make test TESTS=tests/unit PYTEST_FLAGS=-x
TESTS ?= tests
# A second process would collect the quick tests for as long as it then saves.
TEST_WORKERS ?= $(if $(filter-out tests/unit%,$(TESTS)),2,0)
PYTEST_FLAGS ?=
EXPLORE_FLAGS ?=
DEMO_FLAGS ?= $(if $(filter-out 0,$(KEEP)),--keep)

.PHONY: help prerequisites setup demo test test-interop check crds explore bench bench-local bench-operator bench-worker \
        soak lock fmt clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

prerequisites:
	@tools/setup prerequisites

setup: prerequisites $(PYTHON_READY) $(AZURITE_READY) $(KUBERNETES_READY) ## Set up what demo and test need; they do it themselves

demo: setup ## Run the whole story on this machine; KEEP=1 leaves it up
	@$(BIN)/workforce local demo $(DEMO_FLAGS)

test: setup $(INTEROP_READY) ## Run all tests
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup --no-loadscope-reorder $(PYTEST_FLAGS) $(TESTS)

test-interop: $(PYTHON_READY) $(AZURITE_READY) $(INTEROP_READY) ## Run ai4s-jobq here
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup --no-loadscope-reorder $(PYTEST_FLAGS) tests/interop

explore: $(PYTHON_READY) ## Break the operator in 10,000 runs on a virtual clock
	@$(BIN)/python -m tests.exploration $(EXPLORE_FLAGS)

check: $(PYTHON_READY) ## Check format, lint, types, layers and generated files
	@tools/check

crds: $(PYTHON_READY) ## Generate the resource definition and its reference page
	@$(BIN)/python -m workforce_operator.api.crd --write $(CRD) $(CHART_CRD) --write-docs $(CRD_PAGE)

ifneq ($(wildcard bench/*.py),)
bench: setup ## Run the benchmarks
	@for program in bench/*.py; do echo "== $$program"; $(BIN)/python "$$program"; done

bench-local: $(PYTHON_READY) $(AZURITE_READY) ## Run the benchmarks of the local cloud
	@for program in bench/local_*.py; do echo "== $$program"; $(BIN)/python "$$program"; done
endif

bench-operator: setup $(INTEROP_READY) ## Measure the operator
	@for program in planning hiring fleet; do echo "== $$program"; $(BIN)/python bench/operator/$$program.py; done

bench-worker: $(PYTHON_READY) $(AZURITE_READY) $(INTEROP_READY) ## Compare the worker with ai4s-jobq
	@PYTHONPATH=. $(BIN)/python bench/worker/table.py

soak: $(PYTHON_READY) $(AZURITE_READY) ## Run 10,000 tasks through kills, drains and outages
	@PYTHONPATH=. $(BIN)/python -m tests.soak.run

lock: $(PYTHON_READY) ## Write the lock files again, at the newest versions
	@tools/lock

fmt: $(PYTHON_READY) ## Format the code and fix what can be fixed
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

clean: ## Remove what set-up, tests and builds made in this folder
	@for state in .workforce .workforce/demo; do \
	    ! { test -x $(BIN)/workforce && test -d $$state; } || $(BIN)/workforce local down --state-dir $$state; done
	@chmod -R u+w .cache 2>/dev/null || true
	@rm -rf .venv .cache .workforce build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PYTHON_READY): requirements/dev.txt pyproject.toml worker_agent/jobq/version.py tools/setup
	@tools/setup python
	@echo '$(CURDIR)' > $@

# A virtual environment cannot be moved: in a folder of another name it is set up again.
ifneq ($(shell cat $(PYTHON_READY) 2>/dev/null),$(CURDIR))
.PHONY: $(PYTHON_READY)
endif

$(AZURITE_READY): $(wildcard tools/azurite/package*.json tools/azurite/.npmrc) $(PYTHON_READY)
	@tools/setup azurite
	@mkdir -p $(@D) && touch $@

# ai4s-jobq in a virtual environment of its own: what ours must get on with, as its users install it.
$(INTEROP_READY): requirements/interop.txt $(PYTHON_READY)
	@tools/setup interop
	@mkdir -p $(@D) && touch $@

$(KUBERNETES_READY): $(wildcard tools/kubernetes/*/go.mod tools/kubernetes/*/go.sum) $(PYTHON_READY)
	@tools/setup kubernetes
	@mkdir -p $(@D) && touch $@
