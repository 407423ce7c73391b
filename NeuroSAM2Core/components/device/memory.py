"""Memory of the device that PyTorch keeps for later."""

import torch


def release_cached_memory() -> None:
    """Gives what is kept and not used back to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
