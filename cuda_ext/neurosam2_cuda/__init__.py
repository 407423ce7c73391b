"""The compiled CUDA kernels of NeuroSAM2; importing this registers them with PyTorch. Used through `NeuroSAM2Core.device_ops`."""

from pathlib import Path

import torch

_HERE = Path(__file__).parent


def _library() -> Path:
    for name in ("_C*.so", "_C*.pyd"):
        for path in sorted(_HERE.glob(name)):
            return path
    raise ImportError(f"there is no compiled library in {_HERE}; build it as cuda_ext/README.md says")


torch.ops.load_library(str(_library()))
