PYTHON ?= python3
BIN := .venv/bin

.PHONY: ablate test faults check bench doctor

ablate: .venv/installed ## run the main job
	$(BIN)/python -m harness.ablate

test: .venv/dev ## run the tests
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

faults: .venv/dev ## every fault a study must survive, injected as often as it should be
	$(BIN)/python -m tests.faults

check: .venv/dev ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed ## throughput against the bound
	$(BIN)/python -m harness.bench

doctor: .venv/installed ## what is on this machine
	$(BIN)/python -m harness.doctor

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml setup.py
	$(BIN)/pip install --quiet --editable ".[expectigrad,imgaug]"
	@touch $@

.venv/dev: .venv/installed
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --group dev
	@touch $@

