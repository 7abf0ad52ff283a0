# Everything a developer does here; `make` alone lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := $(BIN)/uv
BENCH := var/bench-env

# What squawk need not say: the session's timeouts are set by migrations/env.py, each migration is one transaction,
# small numbers stay small, and a column or check is loosened on purpose.
BOUNDED := require-lock-timeout,require-statement-timeout,prefer-bigint-over-int,prefer-bigint-over-smallint
LOOSENED := prefer-robust-stmts,prefer-text-field,ban-drop-not-null,ban-drop-constraint

.DEFAULT_GOAL := help
.PHONY: help run test check format openapi examples oracle mutants month fuzz faults bench client lock clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY) ## Start database, API and worker with demo data on 127.0.0.1:8000 (PORT changes it).
	@exec $(BIN)/python -m app dev

test: $(READY) ## Run the tests against a real PostgreSQL of their own.
	$(BIN)/python -m pytest -n 2

check: $(READY) ## Check style, types, layers, dependencies, spelling, the Dockerfile and the migrations.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/vulture
	$(BIN)/codespell
	$(BIN)/hadolint Dockerfile
	@mkdir -p var
	$(BIN)/python -m alembic upgrade head --sql >var/migrations.sql 2>var/migrations.log
	$(BIN)/squawk --exclude=$(BOUNDED),$(LOOSENED) var/migrations.sql

format: $(READY) ## Format the code.
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

openapi: $(READY) ## Write openapi.yaml from the application.
	$(BIN)/python -m app openapi

examples: $(READY) ## Record the examples of all operations and errors anew, and write openapi.yaml with them.
	-UPDATE_EXAMPLES=1 $(BIN)/python -m pytest -q tests/api/test_examples.py >/dev/null
	$(BIN)/python -m app openapi
	$(BIN)/python -m pytest tests/api/test_examples.py

oracle: $(READY) ## Compare the calendar with 100,000 cases of a second-by-second walk.
	$(BIN)/python -m tests.oracle.run

mutants: $(READY) ## Break calendar and eligibility in every small way, and see a test fail each time.
	$(BIN)/python -m tests.mutants

month: $(READY) ## Simulate a month of a busy desk, 2,000 tickets and more through HTTP, and print what came of it.
	TICKETS=2400 $(BIN)/python -m pytest -q -s tests/api/test_month.py

fuzz: export FUZZ := $(or $(FUZZ),20260105)
fuzz: $(READY) ## Send every payload to every field, and schemathesis as two identities (FUZZ=seed): no fault of ours.
	$(BIN)/python -m tests.conformance
	$(BIN)/python -m pytest -q -n 2 -rP tests/api/test_fuzz.py

faults: $(READY) ## Kill, cut, stall and stop every part under load (FAULTS=seed), and print what was lost: nothing.
	FAULTS=$(or $(FAULTS),20260105) $(BIN)/python -m pytest -q -s -p no:randomly tests/faults

bench: $(READY) $(BENCH)/.ready ## Measure it all beside its floor, into bench/results; an hour, and it goes on where it was (QUICK=1: a minute).
ifdef QUICK
	$(BIN)/python -m bench --quick
	$(BENCH)/bin/python -m bench.report var/bench/quick.jsonl
else
	$(BIN)/python -m bench
	$(BENCH)/bin/python -m bench.report
	$(BENCH)/bin/python -m bench.calendar
	$(BIN)/python -m bench.worker
	$(BIN)/python -m bench.walls
endif

client: $(READY) ## Generate a client from openapi.yaml, type-check it, and use it against a running service.
	$(BIN)/python -m tests.client

lock: $(READY) ## Resolve the dependencies anew and lock them with hashes.
	for part in "runtime:pyproject.toml" "dev:pyproject.toml --group embedded --group dev" \
		"mutants:pyproject.toml --group embedded --group dev --group mutants" "tools:--group tools" "uv:--group uv" \
		"bench:pyproject.toml --group bench"; do \
		$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
			--no-emit-index-url --no-emit-find-links --no-header \
			$${part#*:} -o requirements/$${part%%:*}.txt || exit 1; \
	done

clean: ## Remove the environment, caches and the development state.
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The environment, made anew when the locks change. Each thing that may be missing has its sentence.
# uv is quick, but reads none of pip's settings: where only those name a package index, pip does its work, and
# takes the lock as it is.
$(READY): requirements/uv.txt requirements/dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; install Python 3.11 or later, or name it: make PYTHON=python3.12."; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11; name a later one: make PYTHON=python3.12."; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module; install it (on Debian: apt install python3-venv)."; exit 2; }
	@echo "Making the environment in $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

# What only the comparison of `make bench` needs has an environment of its own, made anew when its lock changes.
$(BENCH)/.ready: requirements/bench.txt | $(READY)
	@echo "Making the environment in $(BENCH)"
	@$(PYTHON) -m venv --clear $(BENCH)
	@$(UV) pip install --quiet --python $(BENCH)/bin/python --require-hashes -r requirements/bench.txt \
		|| $(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/bench.txt
	@touch $@
