# What one does with this project. Every target installs first what it needs; a second time that costs nothing.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install demo audit test check faults faults-full planted api-fuzz bench lock clean

BIN := .venv/bin
INSTALLED := .venv/installed
LOCKS := requirements/bootstrap.txt requirements/lock.txt contracts/package-lock.json
JOBS ?= 2

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 \t/p' $(MAKEFILE_LIST) | expand -t 20

install: $(INSTALLED) ## Python and npm packages, at the versions and hashes of the lock files

# uv comes from a lock of its own, because it is what reads the other one.
$(INSTALLED): $(LOCKS)
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    for python in python3 python3.14 python3.13 python3.12 python3.11 none; do \
	        if [ $$python = none ]; then echo "Python 3.11 or newer is needed, and not on PATH." >&2; exit 1; fi; \
	        if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	    done; \
	    echo "Making .venv with $$($$python --version)"; \
	    $$python -m venv --clear .venv || { echo "$$python cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }; \
	fi
	@echo "Installing Python packages (about 300 MB where they are not cached)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements/lock.txt
	@echo "Installing npm packages (Anvil, the Solidity compiler, OpenZeppelin)"
	@$(BIN)/python -c 'from contracts.node import ensure_packages; ensure_packages()'
	@touch $@

demo: install ## a borrow and a repayment on the real stack, live; ONCE=1 ends when it is done, OTLP=http://host:4317 sends its spans there
	@exec $(BIN)/python -m sandbox.demo $(if $(ONCE),--once) $(if $(OTLP),--otlp '$(OTLP)')

audit: install ## every invariant of money.md, of the engine that ENGINE_… variables name, or of the demo's state
	@exec $(BIN)/python $(if $(ENGINE_DATABASE_URL),audit.py,-m sandbox.audit)

test: install ## the whole suite
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: install ## format, lint, types, layers, dependencies, contracts and migrations
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/deptry sandbox bench tests contracts --exclude contracts/node_modules --extend-exclude var --ignore DEP002,DEP004
	$(BIN)/python contracts/build.py --check
	$(BIN)/python -m sandbox.schema_check
	$(BIN)/python -m sandbox.errors_page --check
	$(BIN)/python -m sandbox.metrics_page --check
	$(BIN)/python -m sandbox.events_page --check

faults: install ## the seeded slice of every fault campaign, under five minutes
	@$(BIN)/python -m tests.faults --jobs $(JOBS) $(ARGS)

faults-full: install ## every fault campaign at its full figure, in parts that resume; writes docs/fault-report.md
	@status=0; $(BIN)/python -m tests.faults --full --jobs $(JOBS) $(ARGS) || status=$$?; \
	$(BIN)/python -m tests.planted --resume --jobs $(JOBS) || status=$$?; \
	$(BIN)/python -m tests.faults --report; exit $$status

planted: install ## each known way to lose money, planted into a copy of the tree: its test must fail
	@$(BIN)/python -m tests.planted --jobs $(JOBS) $(ARGS)

api-fuzz: install ## schemathesis, all its phases, on a sandbox of its own, with counts by phase; ARGS="--examples 500" for longer
	@$(BIN)/python -m tests.fuzz $(ARGS)

bench: install ## rates against floors measured in the same run
	@$(BIN)/python -m bench $(ARGS)

lock: ## compile the lock file anew after a change of pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
	    --no-config --group dev pyproject.toml -o requirements/lock.txt --python-version 3.11
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
	    --no-config pyproject.toml -c requirements/lock.txt -o requirements/runtime.txt --python-version 3.11

clean: ## remove what was installed, the caches and the sandbox's state
	rm -rf .venv contracts/node_modules var .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
