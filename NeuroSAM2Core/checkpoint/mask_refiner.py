"""The mask refiner that comes with the package, and others of its form."""

from functools import lru_cache
from importlib import resources
from pathlib import Path

import torch

from NeuroSAM2Core import disk
from NeuroSAM2Core.checkpoint.tensor_file import TensorFile
from NeuroSAM2Core.errors import CheckpointError
from NeuroSAM2Core.model.mask_refiner import MaskRefiner


@lru_cache(maxsize=4)
def bundled_refiner(device: torch.device) -> MaskRefiner:
    """The package's own refiner on a device; it is read once."""
    path = Path(str(resources.files("NeuroSAM2Core") / "weights" / "mask_refiner.safetensors"))
    return read_refiner(path).to(device)


def read_refiner(path: Path) -> MaskRefiner:
    """A refiner from a file, in eval mode, as float32 and without gradients.

    Raises:
        CheckpointError: The file is missing, damaged, or holds something else.
    """
    refiner = MaskRefiner()
    try:
        with disk.extended(path).open("rb", buffering=0) as file:
            refiner.load_state_dict({name: tensor.float() for name, tensor in TensorFile(file).tensors()})
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} holds no mask refiner: {error}", hint="install the package again") from error
    return refiner.eval().requires_grad_(False)
