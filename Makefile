# Each target works alone on a fresh machine that has Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench

export ALIBABA_CLOUD_ECS_METADATA_DISABLED := true

.PHONY: demo test docs build soak soak-jobs soak-memory bench bench-quick lint clean

demo: $(STAMP)
	$(BIN)/mns-listener demo

# Bytecode is cached even where the environment forbids it: the suite starts some hundred processes of the package.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(STAMP)
	$(BIN)/python -m pytest -n 4 --dist loadgroup

# The documentation as a site in site/; warnings and broken links are errors (never --quiet: it hides both). No network.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=true $(BIN)/python -m mkdocs build --strict --clean

# The sdist and the wheel in dist/, without build isolation, so without a network.
build: $(STAMP)
	rm -rf build dist *.egg-info/SOURCES.txt
	$(BIN)/python -m build --no-isolation

# Random faults, random kills, and a check that every callback is accounted for: over SQLite, then half as many seeds
# with two processes over PostgreSQL. SEEDS=200 takes a while.
SEEDS ?= 50
soak: soak-jobs
	$(BIN)/python -m tests.soak --seeds $(SEEDS)
	$(BIN)/python -m tests.soak --seeds $$(($(SEEDS) / 2)) --store postgresql

# 2,000 jobs, a fifth of whose callbacks never arrives: each job reaches its true state, once.
soak-jobs: $(STAMP)
	ALIBABA_CLOUD_ACCESS_KEY_ID=testKeyId ALIBABA_CLOUD_ACCESS_KEY_SECRET=testKeySecret \
		$(BIN)/python -m tests.soak.job_outcomes

# 300,000 callbacks through one process: its memory, threads and open files must not grow.
soak-memory: $(STAMP)
	$(BIN)/python -m tests.soak.memory

# Every figure of docs/performance.md: ten minutes on an otherwise idle machine; bench-quick uses small sizes.
bench: $(BENCH_STAMP)
	$(BIN)/python -m tests.benchmarks

bench-quick: $(BENCH_STAMP)
	$(BIN)/python -m tests.benchmarks --quick

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info
