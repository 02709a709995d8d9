# make setup   a virtual environment with the locked dependencies and the project in it
# make run     the example platform on http://127.0.0.1:8787, its data in ./data
# make test    every test
# make lint    format, lint, types and the import rules
# make bench   the example beside the same Worker in Miniflare; writes benchmarks/results/latest.json
# make bench-neighbours  a quiet customer beside noisy ones (NEIGHBOUR_SECONDS); writes benchmarks/results/neighbours.json
# make bench-durability  acknowledged writes a second beside the disk's own; writes benchmarks/results/durability.json
# make scale   100,000 resources of each kind registered, 1,000 active; writes benchmarks/results/scale.json
# make fuzz    ten CPU-minutes of coverage-guided fuzzing of the wire (FUZZ_SECONDS); what it finds is saved
# make history D1's Time Travel under all that can happen in between (HISTORY_EXAMPLES)
# make canary  strangers side by side under load and kills: no token of one reaches another (CANARY_REQUESTS)
# make soak    cold starts and kills, SOAK_ROUNDS of them: the host holds afterwards what it held before
# make large   R2 objects of R2_OBJECT_BYTES (5 GiB) through a Worker, REST and S3: the memory of the host stays flat
# make faults  kill -9, power cuts, I/O errors, full disks and corrupted files, FAULT_ROUNDS of what is random (FAULT_SEED)
# make lock    compile the lock files again

PYTHON ?= python3
VENV ?= .venv
DATA ?= data
PORT ?= 8787
CONTROL_PORT ?= 8788
S3_PORT ?= 8789
NEIGHBOUR_SECONDS ?= 10
DURABILITY_SECONDS ?= 3
FUZZ_SECONDS ?= 600
HISTORY_EXAMPLES ?= 500
CANARY_REQUESTS ?= 200000
SOAK_ROUNDS ?= 10000
R2_OBJECT_BYTES ?= 5368709120
FAULT_ROUNDS ?= 200
FAULT_SEED ?= $(shell date +%s)
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
# Bytecode is kept, whatever the shell says: without it each process of a platform compiles all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup setup-dev run test lint bench bench-neighbours bench-durability scale fuzz fuzz-corpus canary history soak large faults lock clean

# uv takes seconds for what takes pip most of a minute. Where it cannot (an index that only pip knows of), pip does it.
install = $(BIN)/uv pip install --quiet --python $(BIN)/python $(1) || $(PIP) install --quiet $(1)

$(VENV)/.uv: requirements-setup.lock
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "tenantry needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --require-hashes -r requirements-setup.lock
	touch $@

$(VENV)/.runtime: $(VENV)/.uv requirements.lock pyproject.toml
	$(call install,--require-hashes -r requirements.lock)
	$(call install,--no-deps --no-build-isolation --editable .)
	$(BIN)/python -m compileall -q src
	touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	$(call install,--require-hashes -r requirements-dev.lock)
	touch $@

$(VENV)/.fuzz: $(VENV)/.runtime requirements-fuzz.lock
	$(call install,--require-hashes -r requirements-fuzz.lock)
	touch $@

setup: $(VENV)/.runtime
setup-dev: $(VENV)/.dev

run: setup
	$(BIN)/tenantry dev examples/multi-tenant --data $(DATA) --port $(PORT) --control-port $(CONTROL_PORT) --s3-port $(S3_PORT)

test: setup-dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder -q tests

lint: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-dev
	$(BIN)/python -m benchmarks

bench-neighbours: setup-dev
	$(BIN)/python -m benchmarks.neighbours --seconds $(NEIGHBOUR_SECONDS)

bench-durability: setup-dev
	$(BIN)/python -m benchmarks.durability --seconds $(DURABILITY_SECONDS)

scale: setup-dev
	$(BIN)/python -m benchmarks.scale

fuzz: $(VENV)/.fuzz
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

# Fold what runs of `make fuzz` found interesting into the corpus that is in the repository, as small as it can be.
fuzz-corpus: $(VENV)/.fuzz
	$(BIN)/python tests/fuzz/run.py --keep

# What `make test` does for a moment with D1's Time Travel, for some minutes.
history: setup-dev
	D1_HISTORY_EXAMPLES=$(HISTORY_EXAMPLES) $(BIN)/python -m pytest -q tests/unit/services/d1/test_d1_history.py

canary: setup-dev
	CANARY_REQUESTS=$(CANARY_REQUESTS) $(BIN)/python -m pytest -q -s tests/security/test_canary.py

soak: setup-dev
	SOAK_ROUNDS=$(SOAK_ROUNDS) $(BIN)/python -m pytest -q -s tests/security/test_leaks.py

large: setup-dev
	R2_OBJECT_BYTES=$(R2_OBJECT_BYTES) $(BIN)/python -m pytest -q -s tests/integration/host/test_host_r2_large.py tests/clients/s3/test_s3_large.py

# Says what it injected and what it found. With the same FAULT_SEED it injects the same again.
faults: setup-dev
	@echo "seed $(FAULT_SEED)"
	FAULT_ROUNDS=$(FAULT_ROUNDS) FAULT_SEED=$(FAULT_SEED) $(BIN)/python -m pytest -q -s -p no:randomly --show-capture=no tests/faults

COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links
lock: $(VENV)/.uv
	$(COMPILE) --group setup --output-file requirements-setup.lock
	$(COMPILE) --output-file requirements.lock pyproject.toml requirements-build.in
	$(COMPILE) --constraint requirements.lock --group dev --output-file requirements-dev.lock pyproject.toml requirements-build.in
	$(COMPILE) --group fuzz --output-file requirements-fuzz.lock

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
