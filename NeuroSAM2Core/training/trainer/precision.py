"""The number type of the arithmetic while training. Weights, losses and the optimiser's moments are float32 always.

In bfloat16 most of AdamW's small steps are smaller than half the distance between two weights and change nothing, so weights are
never kept that way.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.fine_tuning import PrecisionName

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Precision:
    """How a forward pass computes."""

    device_type: str
    dtype: torch.dtype | None
    """What matrix products are computed in; None for float32."""

    @classmethod
    def chosen(cls, name: PrecisionName, device: torch.device) -> "Precision":
        """The precision by name; `auto` is bfloat16 on GPUs that have it, else float32.

        Raises:
            ConfigError: float16 is asked for where it is no faster and less exact.
        """
        if name == "auto":
            name = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
        if name == "fp16" and device.type == "cpu":
            raise ConfigError("float16 is for GPUs; this run computes on the CPU", hint='run.precision = "auto"')
        return cls(device.type, DTYPES[name])

    @property
    def scales_losses(self) -> bool:
        """float16 loses small gradients unless the loss is scaled up."""
        return self.dtype is torch.float16

    def autocast(self) -> AbstractContextManager[None]:
        """The context of a forward pass."""
        return torch.autocast(self.device_type, self.dtype, enabled=self.dtype is not None)
