# The commands of the project. Each sets up what it needs, on a machine with Python 3.11+ and make alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DAGSTER_HOME ?= $(CURDIR)/.dagster_home
PORT ?= 3000

.PHONY: run ui test coverage test-long lint bench evaluate sample docs site lock screenshots clean help

run: $(VENV)/run-ready $(DAGSTER_HOME)/dagster.yaml  ## files to bronze, silver, gold and exports
	@$(BIN)/python -m clustering_assets.run

ui: $(VENV)/run-ready $(DAGSTER_HOME)/dagster.yaml  ## the Dagster UI on 127.0.0.1
	cd $(DAGSTER_HOME) && $(CURDIR)/$(BIN)/dagster dev --workspace $(CURDIR)/workspace.yaml --host 127.0.0.1 --port $(PORT)

test: $(VENV)/test-ready  ## lint, types and tests
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not long" $(PYTEST_ARGS)

coverage: $(VENV)/test-ready  ## the tests, and which lines they reach: slower, since every line is counted
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not long" --cov --cov-report=term $(PYTEST_ARGS)

test-long: $(VENV)/test-ready  ## the tests that take minutes each: kill points, mutated files, a simulated year
	$(BIN)/python -m pytest -m long $(PYTEST_ARGS)

lint: $(VENV)/test-ready  ## the checks of every commit: lint, format, types
	$(BIN)/pre-commit run --all-files

bench: $(VENV)/test-ready  ## benchmarks, as ratios against a baseline of the same run
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

evaluate: $(VENV)/test-ready  ## the segmentation against its targets; EVALUATE_ARGS=--quick shows in a minute that it works
	$(BIN)/python -m benchmarks.evaluate $(EVALUATE_ARGS)

sample: $(VENV)/run-ready  ## makes the sample in data/ anew
	$(BIN)/python -m clustering_assets.synthetic --out data $(SAMPLE_ARGS)

docs: $(VENV)/test-ready  ## makes the generated documents anew
	$(BIN)/python -m clustering_assets.reports.data_dictionary > docs/data_dictionary.md
	$(BIN)/python -m clustering_assets_tests.other_backends > docs/backends.md

site: $(VENV)/test-ready  ## the documents as a site, in build/site; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

screenshots: $(VENV)/test-ready  ## takes the pictures in docs/images anew, with Chromium
	$(BIN)/python -m clustering_assets_tests.screenshots

lock: $(VENV)/test-ready  ## pins every package to the newest version that pyproject.toml allows
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade --no-annotate \
		--no-emit-index-url --no-emit-find-links --no-header --output-file requirements.lock

clean:  ## removes the environment and everything that was computed
	rm -rf $(VENV) .dagster_home .clustering_home

help:
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is older: make PYTHON=python3.12 run" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run-ready: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable .
	@touch $@

$(VENV)/test-ready: $(VENV)/run-ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'
	@touch $@

$(DAGSTER_HOME)/dagster.yaml: dagster.yaml
	@mkdir -p $(DAGSTER_HOME)
	@cp dagster.yaml $@
