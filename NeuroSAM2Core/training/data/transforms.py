"""From files to volumes that clips are cut from, as a chain of MONAI transforms: read, scale, turn to RAS.

Scaling is the engine's own window, taken on the stored voxels before anything is turned, so that a volume trained on and a volume
segmented reach the model as the same numbers. What the model does to 0..1 is the model's own and happens only there.

Random changes to a clip, as MONAI transforms: one draw for all slices, all of it from a seed.

Slices are channels here, so that a change is the same on every one of them and costs as much as on a picture.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    MapTransform,
    Orientationd,
    Rand2DElasticd,
    RandAdjustContrastd,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSharpend,
    RandGaussianSmoothd,
    RandHistogramShiftd,
    RandRotate90d,
    Transform,
)
from numpy.typing import NDArray
from torch import Tensor

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Core.training.config.data import AugmentationConfig
from NeuroSAM2Core.training.data.dataset import Case, read_labelled
from NeuroSAM2Core.volume import Volume, percentile_window

IMAGE, LABEL = "image", "seg"


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCase:
    """A case in RAS, ready to be cut."""

    image: Volume
    """float32, 0 to 1."""
    labels: NDArray[np.int32]
    """(K, J, I)."""


class ReadCase(Transform):
    """A case becomes its image and label, channel first, (1, I, J, K)."""

    def __call__(self, case: Case) -> dict[Hashable, MetaTensor]:
        """Reads both files; see `read_labelled` for what can be wrong."""
        pair = read_labelled(case)
        matrix = torch.from_numpy(pair.image.ijk_to_ras.copy())
        return {
            IMAGE: MetaTensor(_as_tensor(pair.image.voxels), affine=matrix),
            LABEL: MetaTensor(_as_tensor(pair.labels), affine=matrix),
        }


class PercentileWindowd(MapTransform):
    """Intensities as the engine scales them: the 0.5 and 99.5 percentiles become 0 and 1, what is not a number becomes 0."""

    def __call__(self, data: Mapping[Hashable, MetaTensor]) -> dict[Hashable, MetaTensor]:
        """Scales the chosen keys."""
        scaled = dict(data)
        for key in self.key_iterator(scaled):
            volume = data[key]
            voxels = volume[0].numpy().T
            values = percentile_window(voxels).normalise(voxels)
            scaled[key] = MetaTensor(_as_tensor(values), affine=volume.affine)
        return scaled


def prepare(case: Case) -> PreparedCase:
    """Reads a case, scales it and turns it to RAS.

    Raises:
        DataError: A file is missing or damaged, or image and label do not belong together.
        GeometryError: A file does not hold one volume.
    """
    chain = Compose([ReadCase(), PercentileWindowd(IMAGE), Orientationd((IMAGE, LABEL), axcodes="RAS", labels=None)])
    try:
        done = chain(case)
    except RuntimeError as error:  # MONAI wraps what a transform raises
        if isinstance(error.__cause__, NeuroSAM2Error):
            raise error.__cause__ from None
        raise
    image, labels = (np.ascontiguousarray(done[key].numpy()[0].T) for key in (IMAGE, LABEL))
    return PreparedCase(Volume(image, done[IMAGE].affine.numpy(), name=case.name), labels)


def _as_tensor(voxels: NDArray[np.generic]) -> torch.Tensor:
    """(K, J, I) voxels as (1, I, J, K); unsigned types that torch can hardly compute with become signed ones."""
    wider = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64, np.dtype(np.uint64): np.int64}
    return torch.from_numpy(np.array(voxels.T, dtype=wider.get(voxels.dtype, voxels.dtype)))[None]


MASKS = "masks"
BOTH = (IMAGE, MASKS)
ELASTIC_CELL = 32
"""Pixels between the places whose shifts are drawn."""
ELASTIC_SHIFT = (0.0, 6.0)
"""Smallest and largest deviation of the shifts, pixels."""


class Augmentation:
    """Changes clips as configured.

    Args:
        config: How often.
    """

    def __init__(self, config: AugmentationConfig) -> None:
        self._shapes = Compose(
            [
                RandFlipd(BOTH, prob=config.flip, spatial_axis=0),
                RandFlipd(BOTH, prob=config.flip, spatial_axis=1),
                RandRotate90d(BOTH, prob=config.rotate, max_k=3),
                Rand2DElasticd(
                    BOTH,
                    spacing=(ELASTIC_CELL, ELASTIC_CELL),
                    magnitude_range=ELASTIC_SHIFT,
                    prob=config.elastic,
                    mode=("bilinear", "nearest"),
                    padding_mode="zeros",
                ),
            ]
        )
        self._intensities = Compose(
            [
                RandAdjustContrastd(IMAGE, prob=config.contrast, gamma=(0.5, 2.0)),
                RandHistogramShiftd(IMAGE, prob=config.histogram_shift, num_control_points=10),
                RandGaussianSmoothd(IMAGE, prob=config.smoothing),
                RandGaussianSharpend(IMAGE, prob=config.sharpening),
                RandGaussianNoised(IMAGE, prob=config.noise, std=0.05),
            ]
        )

    def __call__(
        self, images: Float[Tensor, "t s s"], masks: Bool[Tensor, "o t s s"], rng: np.random.Generator
    ) -> tuple[Float[Tensor, "t s s"], Bool[Tensor, "o t s s"]]:
        """The clip as it will be shown; a deformation that takes an object off the first slice is not made."""
        shapes, intensities = (int(seed) for seed in rng.integers(2**32, size=2, dtype=np.uint64))
        self._shapes.set_random_state(seed=shapes)
        self._intensities.set_random_state(seed=intensities)
        moved = self._shapes({IMAGE: images, MASKS: masks.flatten(0, 1).float()})
        moved_masks = torch.as_tensor(moved[MASKS]).view(masks.shape) > 0.5
        if (moved_masks[:, 0].flatten(1).any(dim=1) == masks[:, 0].flatten(1).any(dim=1)).all():
            images, masks = torch.as_tensor(moved[IMAGE]), moved_masks
        changed = self._intensities({IMAGE: images})[IMAGE]
        return torch.as_tensor(changed).float().clamp(0, 1).contiguous(), masks.contiguous()
