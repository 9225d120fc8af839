# `make report` and `make test` need nothing but python3 with venv: they make their own environment.
PYTHON ?= python3
VENV ?= .venv
PRESET ?= quick
DATASETS ?= housing
DEVICE ?= auto
JOBS ?= 2
RUN ?= runs/$(PRESET)

READY := $(VENV)/.ready
# the environment's own programs first, so that notebooks and Snakemake use its python
export PATH := $(abspath $(VENV))/bin:$(PATH)

.PHONY: report test test-all book reference bench lint environment

report: $(READY)
	@OMP_NUM_THREADS=1 python -m mixnam.report.book rerun --preset $(PRESET) --datasets $(DATASETS) --run $(RUN) \
		--device $(DEVICE) --jobs $(JOBS)

test: lint
	pytest -q -n 2 --dist loadfile -m "not slow" --durations=12
	MIXNAM_RESULTS=$$(mktemp -d) pytest -q -n 2 --dist loadscope --nbval-lax --nbval-cell-timeout=300 \
		-p no:cacheprovider notebooks

test-all: lint
	pytest -q
	MIXNAM_RESULTS=$$(mktemp -d) pytest -q --nbval-lax --nbval-cell-timeout=300 -p no:cacheprovider notebooks

lint: $(READY)
	ruff check mixnam tests benchmarks
	ruff format --check mixnam tests benchmarks
	mypy
	lint-imports --no-logo

book: $(READY)
	jupyter-book build book

reference: $(READY)
	python -m mixnam.report.book reference

bench: $(READY)
	python -m benchmarks $(if $(PARTS),--parts $(PARTS)) $(if $(PEER),--peer $(PEER))

environment: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " \
		+ sys.version.split()[0] + "; say make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(READY)
