# Each target makes .venv when it is missing. ARGS= goes to the program: make demo ARGS="--port 9000".
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long check simulate fuzz-http bench bench-kernels bench-surfaces bench-adapters bench-sidecar
SHELL := /bin/bash
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -q -p no:cacheprovider

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: ## the environment, complete, for development
	@.ci/environment dev

demo: ## the embedded market, the pricer and the sidecar, with the live chain in the terminal
	@.ci/environment server
	@$(BIN)/volstream demo $(ARGS)

test: ## everything that CI runs
	@.ci/tests $(ARGS)

test-long: setup ## the tests that are too slow for every change
	$(PYTEST) -rs -m long --timeout 3600 $(ARGS) || [ $$? = 5 ] # 5: there are none

simulate: setup ## the simulator bench: a thousand seeds of random faults on virtual time
	$(BIN)/python -m tests.simulate --seeds 1000 $(ARGS)

fuzz-http: setup ## requests by the OpenAPI document, a thousand for each path
	VOLSTREAM_HTTP_EXAMPLES=1000 $(PYTEST) tests/sidecar/routes/test_openapi.py --timeout 3600 $(ARGS)

check: setup ## lint, format and types
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy

bench: setup ## from frame to snapshot, measured on this machine
	$(BIN)/python -m benchmarks.tick $(ARGS)

bench-kernels: ## the kernels beside other packages, which are installed for it
	@.ci/environment bench
	$(BIN)/python -m benchmarks.kernels $(ARGS)

bench-surfaces: ## surfaces beside other packages, which are installed for it
	@.ci/environment bench
	$(BIN)/python -m benchmarks.surfaces $(ARGS)

bench-adapters: ## frames of a venue beside other packages, which are installed for it
	@.ci/environment bench
	$(BIN)/python -m benchmarks.adapters $(ARGS)

bench-sidecar: setup ## the sidecar's fan-out to many clients beside plain broadcasting
	$(BIN)/python -m benchmarks.sidecar $(ARGS)
