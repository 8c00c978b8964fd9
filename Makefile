# tsdb: everything a developer does. Needs Python 3.11 to 3.13 and make, neither root nor a service.
# The first target that needs it sets up .venv from requirements.lock.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
READY := .venv/.ready
ARGS ?=
# Tests start hundreds of processes: without the bytecode that the first one leaves, each takes a second more.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check kernels lint types floors bench nightly lock clean setup
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|' 2>/dev/null \
		|| grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST)

demo: $(READY) ## Start a server, load an hour of metrics, query it
	@$(BIN)/python -m tsdb demo $(ARGS)

# A test that hangs ends the run after ten minutes, and what all threads do is printed. The longest test takes one minute.
test: kernels ## Run the tests, files side by side, three for two cores since many wait (ARGS="-k name" for some)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder \
		--max-worker-restart 0 -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true $(ARGS)

check: $(READY) ## Everything CI runs: lint, types, floors, tests
	@$(MAKE) --no-print-directory -j 2 lint types floors kernels
	@$(MAKE) --no-print-directory test

kernels: $(READY)
	@$(BIN)/python -m tests.fixtures.kernels

lint: $(READY) ## Check format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY) ## Check types
	$(BIN)/mypy

floors: $(READY) ## Check which part may import which
	$(BIN)/lint-imports --no-cache

bench: $(READY) ## Run the benchmark (ARGS="--help" for its options)
	$(BIN)/python -m benchmarks $(ARGS)

nightly: $(READY) ## Run the long forms of fuzz, crash and model tests
	$(BIN)/python -m pytest -m nightly $(ARGS)

lock: $(READY) ## Pin new versions of the dependencies in requirements.lock
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --generate-hashes --all-extras --allow-unsafe --no-annotate \
		--no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links -o requirements.lock pyproject.toml

setup: $(READY) ## Only make .venv

clean: ## Remove .venv, caches and build results
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian's python3 without python3-venv makes a .venv that has no pip: then virtualenv, when there is one, makes it.
$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "tsdb needs Python 3.11, 3.12 or 3.13 on the PATH (or make PYTHON=/path/to/python)" >&2; exit 1; }
	@echo "Setting up .venv from requirements.lock (once, about a minute) ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 \
		|| { rm -rf .venv; $(PYTHON) -m venv .venv >/dev/null 2>&1; } \
		|| { rm -rf .venv; $(PYTHON) -m virtualenv --quiet .venv 2>/dev/null; } \
		|| { rm -rf .venv; echo "cannot make .venv: $(PYTHON) has neither ensurepip nor virtualenv (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
