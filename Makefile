# routerd: every command a developer types. `make help` prints one line per target.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
ARGS ?=
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
CHECKED := router tests bench
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Build tools come from their own lock, so that nothing unlocked is fetched for a package without a wheel.
INSTALL := $(PIP) install --no-build-isolation --require-hashes
UV_COMPILE := $(VENV)/lock/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

CHECKS := check-lint check-format check-types check-floors check-shape

.PHONY: help run test check $(CHECKS) bench bench-peers clients conformance torture fmt lock wheel clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

run: $(VENV)/.run ## Run routerd on router.example.yaml: SQLite and the simulated provider, no keys needed
	ROUTER_OBSERVABILITY_LOG_FORMAT=text $(BIN)/routerd --config router.example.yaml $(ARGS)

test: $(VENV)/.dev ## Run the tests, real PostgreSQL and Redis included (ARGS="-k name" for some)
	@$(MAKE) --no-print-directory $(VENV)/.clients || echo "No mock providers: tests/clients/mock will be skipped." >&2
	ROUTERD_TEST_REQUIRE=1 $(BIN)/python -m pytest $(ARGS)

check: $(CHECKS) ## Lint, format, types, import floors, shape rules, locks

check-lint: $(VENV)/.dev
	$(BIN)/ruff check $(CHECKED)

check-format: $(VENV)/.dev
	$(BIN)/ruff format --check $(CHECKED)

check-types: $(VENV)/.dev
	$(BIN)/mypy

check-floors: $(VENV)/.dev
	$(BIN)/lint-imports --no-cache --no-logo

check-shape: $(VENV)/.dev
	$(BIN)/python -m pytest -q tests/shape

bench: $(VENV)/.dev ## Measure routerd beside a bare aiohttp proxy and nginx (ARGS="--rounds 7"; ARGS=--help for all)
	$(BIN)/python -m bench.run $(ARGS)

bench-peers: $(VENV)/.dev ## The same with LiteLLM and Portkey, installed into the user's cache folder
	$(BIN)/python -m bench.run --peers $(ARGS)

clients: $(VENV)/.clients ## Run real SDKs through routerd to mocks of every type of provider
	$(BIN)/python -m pytest tests/clients/mock $(ARGS)

conformance: $(VENV)/.dev ## Replay and translate recorded traffic, and print the table by provider, API and feature
	$(BIN)/python -m pytest tests/conformance --features $(ARGS)

torture: $(VENV)/.dev ## Run the long fault and load tests
	ROUTERD_TEST_REQUIRE=1 $(BIN)/python -m pytest -m torture --timeout 1800 $(ARGS)

fmt: $(VENV)/.dev ## Format the code and sort its imports
	$(BIN)/ruff check --fix-only --select I $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

lock: $(VENV)/.lock ## Resolve the dependencies anew and write the hash-locked files
	$(UV_COMPILE) --upgrade pyproject.toml --extra dev -o requirements-dev.lock
	$(UV_COMPILE) --upgrade pyproject.toml -c requirements-dev.lock -o requirements.lock
	$(UV_COMPILE) --upgrade pyproject.toml --extra tokens --extra aws --extra google -c requirements-dev.lock -o requirements-image.lock
	$(UV_COMPILE) --upgrade --group build -c requirements-dev.lock -o requirements-build.lock
	$(UV_COMPILE) --upgrade --group node -o requirements-node.lock

wheel: $(VENV)/.dev ## Build the wheel into dist/
	$(BIN)/python -m build --no-isolation --wheel

clean: ## Remove the virtual environment, caches and build results (data/ stays)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp stands for one step of the installation, so that a second call has nothing to do.
$(VENV)/.made:
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "routerd needs Python 3.11 or newer; none was found as python3.11 ... python3.14 or python3." >&2; exit 1; fi; \
	$$found -m venv --clear $(VENV) || { echo "$$found cannot make a virtual environment; on Debian and Ubuntu install python3-venv." >&2; exit 1; }
	@touch $@

$(VENV)/.build: $(VENV)/.made requirements-build.lock
	$(INSTALL) -r requirements-build.lock
	@touch $@

$(VENV)/.run: $(VENV)/.build requirements.lock pyproject.toml
	$(INSTALL) -r requirements.lock
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	$(INSTALL) -r requirements-dev.lock
	@touch $@

# Node, where the machine has none that is new enough, comes as a wheel: its source would take hours to build.
$(VENV)/.clients: $(VENV)/.dev requirements-node.lock tests/clients/mock/package.json tests/clients/mock/package-lock.json
	@$(BIN)/python -m tests.clients.mock.programs --has-node || $(INSTALL) --retries 1 --only-binary :all: -r requirements-node.lock
	$(BIN)/python -m tests.clients.mock.programs
	@touch $@

$(VENV)/.lock: $(VENV)/.made
	$(BIN)/python -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip --disable-pip-version-check --quiet install uv==$(UV_VERSION)
	@touch $@
