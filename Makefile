# Each target works alone on a fresh machine that has Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Exact versions, verified by their hashes; `make constraints` makes them anew.
LOCKS := container/locks
PIP := -m pip install --quiet --disable-pip-version-check --no-build-isolation
LOCKED := $(BIN)/python $(PIP) --require-hashes
# What the image contains, and none of the tests' tools.
DEMO_VENV := .venv-demo

export ALIBABA_CLOUD_ECS_METADATA_DISABLED := true

.PHONY: demo test test-browser test-system docs build sbom licences constraints soak soak-jobs soak-memory bench bench-quick
.PHONY: bench-emulator lint clean

demo: $(DEMO_VENV)/.installed
	$(DEMO_VENV)/bin/mns-listener demo

# Bytecode is cached even where the environment forbids it: the suite starts some hundred processes of the package.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(STAMP)
	$(BIN)/python -m pytest -n 5 --dist loadgroup

# The pages in a real browser, for which this needs the Debian package chromium; fails without it.
test-browser: $(STAMP)
	$(BIN)/python -m pytest -m browser tests/browser

# The shipped units under a real systemd, the image as a container, and the examples against their schemas. Needs root
# and the Debian packages systemd-container, debootstrap, podman, buildah and crun; fails where it cannot run.
test-system: $(VENV)/.installed-system
	$(BIN)/python -m tests.system.preflight
	$(BIN)/python -m pytest -m system -vv tests/system

# The documentation as a site in site/; warnings and broken links are errors (never --quiet: it hides both). No network.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=true $(BIN)/python -m mkdocs build --strict --clean

# The sdist, the wheel and the SBOM in dist/, without build isolation.
build: $(STAMP)
	rm -rf build dist *.egg-info/SOURCES.txt
	$(BIN)/python -m build --no-isolation
	$(MAKE) sbom

# What the image contains, as CycloneDX JSON in dist/: of an environment made in the same steps as the image's.
sbom: $(VENV)/.installed-release
	rm -rf build/image build/wheels
	mkdir -p dist
	$(BIN)/python -m venv --without-pip build/image
	$(BIN)/python -m pip wheel --quiet --no-build-isolation --require-hashes -w build/wheels -r $(LOCKS)/runtime.txt
	$(BIN)/python -m pip wheel --quiet --no-build-isolation --no-index --no-deps -w build/wheels .
	$(BIN)/python -m pip --python build/image/bin/python install --quiet --no-index --no-deps build/wheels/*.whl
	$(BIN)/python -m cyclonedx_py environment --output-reproducible --output-format JSON \
		--output-file dist/mns-listener.cdx.json build/image/bin/python

# docs/licences.md, from the metadata of the installed packages.
licences: $(STAMP)
	$(BIN)/python -m tests.supply.licences

# container/locks: the newest versions that setup.cfg allows.
constraints: $(VENV)/.installed-release
	$(BIN)/python -m tests.supply.locks

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

# Every figure of docs/performance.md: eight minutes on an otherwise idle machine; bench-quick uses small sizes, and takes
# one minute.
bench: $(VENV)/.installed-bench
	$(BIN)/python -m tests.benchmarks

bench-quick: $(VENV)/.installed-bench
	$(BIN)/python -m tests.benchmarks --quick

# What the emulator does and takes, in a minute; AGAINST=DIR measures another checkout in turn, QUICK=1 small sizes.
bench-emulator: $(STAMP)
	$(BIN)/python -m tests.benchmarks.emulator $(if $(QUICK),--quick) $(if $(AGAINST),--against $(AGAINST))

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(STAMP): setup.cfg pyproject.toml $(LOCKS)/build.txt $(LOCKS)/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(LOCKED) -r $(LOCKS)/build.txt
	$(LOCKED) -r $(LOCKS)/dev.txt
	$(BIN)/python $(PIP) --no-deps -e .
	@touch $@

$(DEMO_VENV)/.installed: setup.cfg pyproject.toml $(LOCKS)/build.txt $(LOCKS)/runtime.txt
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python $(PIP) --require-hashes -r $(LOCKS)/build.txt
	$(DEMO_VENV)/bin/python $(PIP) --require-hashes -r $(LOCKS)/runtime.txt
	$(DEMO_VENV)/bin/python $(PIP) --no-deps -e .
	@touch $@

$(VENV)/.installed-%: $(STAMP) $(LOCKS)/%.txt
	$(LOCKED) -r $(LOCKS)/$*.txt
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO_VENV) build dist site *.egg-info
