# The entries. `make demo` and `make test` are enough on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup check test newest-slicer demo bench gpu clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt tools/setup.sh
	PYTHON="$(PYTHON)" VENV="$(VENV)" sh tools/setup.sh
	touch $(STAMP)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=NeuroSAM2Slicer $(BIN)/lint-imports

test: setup
	$(BIN)/python -m pytest

newest-slicer: setup
	VENV="$(VENV)" sh tools/newest_slicer.sh

demo: setup
	$(BIN)/python tools/demo.py demo

bench: setup
	$(BIN)/python -m benchmarks.run

gpu: setup
	$(BIN)/python -m benchmarks.gpu

clean:
	rm -rf $(VENV) demo
