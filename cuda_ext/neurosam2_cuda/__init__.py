"""The compiled CUDA kernels of NeuroSAM2; importing this registers them with PyTorch. Used through `NeuroSAM2Core.components.device`."""

import torch  # noqa: F401  (loads the libraries that ours is linked with)

from neurosam2_cuda import _C  # noqa: F401
