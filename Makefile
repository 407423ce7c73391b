# The entries. `make app`, `make demo` and `make test` are enough on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup check test newest-slicer demo app bench gpu nano clean

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

# Opens in a browser and prints the address; for an image of yours: make app IMAGE=t1.nii.gz
app: setup
	$(BIN)/neurosam2 app $(IMAGE)

bench: setup
	$(BIN)/python -m benchmarks.run

gpu: setup
	$(BIN)/python -m benchmarks.gpu

# The bundled model's two recipes, one after the other, from nothing; goes on where it was interrupted.
WORKERS ?= 1
nano: setup
	$(BIN)/neurosam2 pretrain runs/scratch --workers $(WORKERS) --export runs/scratch.safetensors
	$(BIN)/neurosam2 pretrain runs/refine --recipe refine --start-from runs/scratch.safetensors --workers $(WORKERS) --export runs/nano.safetensors

clean:
	rm -rf $(VENV) demo
