# Two commands matter: `make repro` and `make test`. Everything is installed into .venv from exact pins with hashes.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION := false
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup repro demo smoke bccd nuts nuts-cv matrix bench experiments table ui pull push promote record comment canary test \
  test-fast coverage check format lock licences clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## install everything into .venv (the other targets do it by themselves)

$(VENV)/.ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "error: Python 3.11 is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1); set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "installing into $(VENV) (first time: a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --require-hashes \
	  -r <(sed -n '/^uv==/,/# via/p' requirements.lock) 2> >(grep -v '^WARNING' >&2)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip sync -q --compile-bytecode --require-hashes requirements.lock
	@touch $@

repro: $(VENV)/.ready ## run the pipeline on params.yaml, publish to MLflow, print the table
	@python -m stages.run

demo: $(VENV)/.ready ## a first success: a small detector that finds drawn shapes, and pictures of what it finds
	@python -m stages.run examples/demo.yaml
	@python -m stages.predict runs/demo/data/prepared/val/images --show-float \
	  --model runs/demo/models/converted/retinanet_mobiledet_tiny/int8 --out runs/demo/predictions
	@echo "pictures: runs/demo/predictions/drawn; next: your own images (README), or make repro for detectors worth shipping"

smoke: $(VENV)/.ready ## the same pipeline with tiny settings, in some minutes
	@python -m stages.run examples/smoke.yaml

bccd: $(VENV)/.ready ## real boxes: blood cells (Pascal VOC) below $DETECTION_SAMPLES
	@python -m stages.run examples/bccd.yaml

nuts: $(VENV)/.ready ## real masks: nuts (COCO) below $DETECTION_SAMPLES
	@python -m stages.run examples/nuts.yaml

nuts-cv: $(VENV)/.ready ## the nuts in five folds: each photo evaluated once; mean and spread of AP
	@python -m stages.cross_validate examples/nuts-cv.yaml

matrix: $(VENV)/.ready ## every model in every scheme, briefly trained: what converts, what runs, what it costs
	@python -m stages.run examples/matrix.yaml

bench: $(VENV)/.ready ## measure ours beside the stock way (leave the machine alone meanwhile)
	@for script in benchmarks/bench_*.py; do echo "== $$script"; python $$script || exit 1; done

experiments: $(VENV)/.ready ## publish what `dvc exp run` measured to MLflow
	@python -m stages.publish_experiments

table: $(VENV)/.ready ## print the results table again
	@python -m stages.report --table

ui: $(VENV)/.ready ## open MLflow on the results (http://127.0.0.1:5000)
	@page=$$(python -m stages.publish --page) && echo "runs: $$page" && \
	  { (sleep 5; python -m webbrowser -t "$$page" > /dev/null 2>&1) & }
	@mlflow server --backend-store-uri "$$(python -m stages.publish --uri)" --host 127.0.0.1 --port 5000

pull: $(VENV)/.ready ## fetch data and results from the DVC remote, also those of other commits (none set: says so)
	@.ci/remote pull --run-cache --allow-missing

push: $(VENV)/.ready ## send data and results to the DVC remote, also those of a run that did not end
	@.ci/remote push --run-cache

promote: $(VENV)/.ready ## make champions in MLflow of the files that pass and are not worse (MODEL=, SCHEME= for one)
	@python -m stages.promote $(if $(MODEL),--model $(MODEL)) $(if $(SCHEME),--scheme $(SCHEME))

record: $(VENV)/.ready ## commit dvc.lock, the record of the results, and push the commit
	@.ci/record

BASE ?= origin/main
comment: $(VENV)/.ready ## print what changed since BASE (origin/main) as Markdown: metrics, parameters, table, pictures
	@.ci/comment $(BASE)

canary: $(VENV)/.ready ## the small pipeline on the newest versions that pyproject.toml allows (changes requirements.lock)
	@$(MAKE) -s lock UPGRADE=--upgrade && $(MAKE) -s smoke

test: $(VENV)/.ready ## run all tests
	@pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test-fast: $(VENV)/.ready ## run the tests that need no training and no TensorFlow
	@pytest -q -n 2 --dist loadfile -m "not slow"

coverage: $(VENV)/.ready ## run all tests and print which lines of stages/ they reach
	@pytest -q -n 2 --dist loadfile --no-loadscope-reorder --cov=stages --cov-report=term:skip-covered

check: $(VENV)/.ready ## format, lint, types, import contracts
	@ruff format --check . && ruff check . && mypy && lint-imports

format: $(VENV)/.ready ## format the code and fix what the linter can
	@ruff format . && ruff check --fix .

lock: $(VENV)/.ready ## resolve requirements.lock anew from pyproject.toml
	@uv pip compile pyproject.toml --extra all --extra dev --generate-hashes --python-version 3.11 -q $(UPGRADE) \
	  --custom-compile-command "make lock" -o requirements.lock

licences: $(VENV)/.ready ## write docs/licences.md from what is installed
	@python .ci/licences.py > docs/licences.md

clean: ## remove results (not .venv, data/raw, dvc.lock)
	@rm -rf data/prepared models work runs mlflow.db* mlartifacts
