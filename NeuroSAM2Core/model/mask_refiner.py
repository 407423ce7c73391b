"""A small U-Net that outlines an object whose place is nearly known: inside a box, or close to the mask of the slice before.

SAM 2's decoder sees a slice through features at a quarter of its resolution and more; the refiner sees the pixels. It belongs to no model:
it works on a 64 x 64 view of a crop, whatever SAM 2 gave the place (`inference/prediction/refiner_view.py`).

Source: Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation", 2015.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

SIDE = 64
"""Of the view, cells."""
CHANNELS = 5
"""Slice, its neighbour, place, evidence, kind; see `RefinerView`."""
WIDTHS = (12, 24, 40, 64)
GROUPS = 4


class ConvBlock(nn.Module):
    """Two convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        """Features of the same size."""
        return F.relu(self.conv2(F.relu(self.norm(self.conv1(x)))))


class MaskRefiner(nn.Module):
    """Views in, logits out; above 0 is the object."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(zip((CHANNELS, *WIDTHS), WIDTHS, strict=False))
        self.down = nn.ModuleList(ConvBlock(inputs, outputs) for inputs, outputs in pairs)
        self.up = nn.ModuleList(
            ConvBlock(coarse + fine, fine) for coarse, fine in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True)
        )
        self.to_logits = nn.Conv2d(WIDTHS[0], 1, kernel_size=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.in_channels > CHANNELS:  # faster on a CPU, but not for so few
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, views: Float[Tensor, "b 5 64 64"]) -> Float[Tensor, "b 1 64 64"]:
        """The logit of each cell."""
        skipped, x = [], views
        for number, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if number else x)
            skipped.append(x)
        for block, fine in zip(self.up, skipped[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2), fine], dim=1))
        logits: Tensor = self.to_logits(x)
        return logits
