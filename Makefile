# `make help` lists the targets. Everything runs in .venv, which the first target to need it makes.

SHELL := /bin/bash
PYTHON_VENV := .venv/bin/python
JOBS ?= 2

BACKENDS := .venv-backends

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-backends check format bench lock wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: .venv/ready ## make .venv from requirements.lock (PREBUILT=... takes a llama.cpp wheel, PYTHON=... a Python)

.venv/ready: requirements.lock pyproject.toml packaging/setup.sh packaging/llama-core.cmake
	@PREBUILT="$(PREBUILT)" PYTHON="$(PYTHON)" bash packaging/setup.sh

demo: .venv/ready ## twenty requests through the pocket model, under a budget
	@.venv/bin/agentkit demo

test: .venv/ready ## run the tests (ARGS=... are passed to pytest)
	@$(PYTHON_VENV) -m pytest -n $(JOBS) --dist loadfile $(ARGS)

test-backends: .venv/ready $(BACKENDS)/ready ## start Phoenix and MLflow, and compare what they show with the ledger
	@AGENTKIT_BACKENDS=$(CURDIR)/$(BACKENDS) $(PYTHON_VENV) -m pytest tests/backends -rA $(ARGS)

$(BACKENDS)/ready: tests/backends/requirements.txt
	$(PYTHON_VENV) -m uv venv --quiet --clear --python $(PYTHON_VENV) $(BACKENDS)
	$(PYTHON_VENV) -m uv pip install --quiet --python $(BACKENDS)/bin/python -r $<
	@touch $@

check: .venv/ready ## ruff, mypy --strict, pyright strict, import-linter
	$(PYTHON_VENV) -m ruff check .
	$(PYTHON_VENV) -m ruff format --check .
	$(PYTHON_VENV) -m mypy
	$(PYTHON_VENV) -m basedpyright --level error
	.venv/bin/lint-imports

format: .venv/ready ## format and fix what ruff can fix
	$(PYTHON_VENV) -m ruff check --fix .
	$(PYTHON_VENV) -m ruff format .

bench: .venv/ready ## run the benchmarks; each prints JSON
	@set -e; for script in benchmarks/*.py; do \
	  case $$(basename $$script) in _*) continue;; esac; \
	  echo "== $$script"; $(PYTHON_VENV) $$script --json; \
	done

lock: .venv/ready ## resolve requirements.lock anew from pyproject.toml
	$(PYTHON_VENV) -m uv pip compile pyproject.toml --all-extras --group dev --group bench \
	  --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --quiet --upgrade --output-file requirements.lock

wheel: .venv/ready ## build the wheel and the source archive into dist/
	$(PYTHON_VENV) -m build --no-isolation

clean: ## remove what was built; .venv stays
	rm -rf build dist *.egg-info .coverage htmlcov .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache .hypothesis
