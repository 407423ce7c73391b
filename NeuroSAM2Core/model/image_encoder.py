"""The image encoder: Hiera's stages joined by a small feature pyramid into the three levels that the rest of the model uses.

Source: Ravi et al. 2024, section 4 and appendix D.1; Lin et al., "Feature Pyramid Networks", CVPR 2017.
"""

from collections import OrderedDict

import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from NeuroSAM2Core.model.config import SAM2Config
from NeuroSAM2Core.model.hiera import Hiera
from NeuroSAM2Core.model.results import ImageFeatures


class ImageEncoder(nn.Module):
    """Trunk and neck."""

    def __init__(self, config: SAM2Config) -> None:
        super().__init__()
        self.trunk = Hiera(config.trunk)
        self.neck = Neck(config.trunk.stage_widths, config.width)

    def forward(
        self, images: Float[Tensor, "b 3 h w"], *, to_stride8: nn.Conv2d, to_stride4: nn.Conv2d
    ) -> ImageFeatures:
        """Encodes normalised images; the two fine levels leave through the mask decoder's own projections."""
        return self.neck(self.trunk(images), to_stride8=to_stride8, to_stride4=to_stride4)


class Neck(nn.Module):
    """A feature pyramid in which only the coarsest level flows down, and only one step."""

    def __init__(self, stage_widths: tuple[int, int, int, int], width: int) -> None:
        super().__init__()
        # Coarsest first, as in the published files.
        self.convs = nn.ModuleList(
            nn.Sequential(OrderedDict(conv=nn.Conv2d(channels, width, kernel_size=1)))
            for channels in stage_widths[::-1]
        )

    def laterals(self) -> list[nn.Conv2d]:
        """The 1 x 1 convolution of each stage, coarsest first."""
        return [module for module in self.modules() if isinstance(module, nn.Conv2d)]

    def forward(
        self, stages: list[Float[Tensor, "b c h w"]], *, to_stride8: nn.Conv2d, to_stride4: nn.Conv2d
    ) -> ImageFeatures:
        """Joins the four stages, finest first, into the three levels that are kept."""
        stride4, stride8, stride16, stride32 = stages
        from_stride32, from_stride16, from_stride8, from_stride4 = self.laterals()
        above = F.interpolate(from_stride32(stride32).float(), scale_factor=2.0, mode="nearest")
        return ImageFeatures(
            coarse=from_stride16(stride16) + above,
            stride8=_both(stride8, from_stride8, to_stride8),
            stride4=_both(stride4, from_stride4, to_stride4),
        )


def _both(x: Float[Tensor, "b c h w"], first: nn.Conv2d, second: nn.Conv2d) -> Float[Tensor, "b o h w"]:
    """Two 1 x 1 convolutions in a row as the one that they are."""
    outer = second.weight.flatten(1)
    weight = outer @ first.weight.flatten(1)
    assert first.bias is not None
    assert second.bias is not None
    return F.conv2d(x, weight[..., None, None], outer @ first.bias + second.bias)
