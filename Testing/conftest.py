"""Tensor shapes in annotations are checked while testing, in the modules whose functions take and give bare tensors. Tests of the scene are
skipped, and say so, where Python has no `slicer-core`."""

import gc

import pytest
from jaxtyping import install_import_hook

from NeuroSAM2Core.startup import shorten_spinning
from Testing.Support.left_out import TestModule

CHECKED = ("hiera", "image_input", "layers", "memory_attention", "memory_encoder", "position", "two_way")

shorten_spinning()  # before torch is loaded, as in our programs: a busy machine takes many times as long otherwise
install_import_hook([f"NeuroSAM2Core.model.{name}" for name in CHECKED], "beartype.beartype")


def pytest_pycollect_makemodule(module_path, parent):
    return TestModule.from_parent(parent, path=module_path)


def pytest_addoption(parser):
    parser.addoption(
        "--seed", type=int, default=0, help="of the attacks with random bytes; `benchmarks.soak` counts it up"
    )


@pytest.fixture
def attack_seed(request):
    """What the random bytes of an attack follow from."""
    return request.config.getoption("--seed")


@pytest.fixture
def settled_heap():
    """While a test measures how long a thread is held up, the garbage collector leaves alone what earlier tests have left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
