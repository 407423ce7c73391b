"""From logits to the mask a person gets: the slice's own size, small holes filled, specks dropped."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from NeuroSAM2Core.engine.options import EngineOptions
from NeuroSAM2Core.model import to_slice
from NeuroSAM2Core.ops import fill_holes, remove_islands


def at_slice(logits: Float[Tensor, "1 1 s4 s4"], shape: tuple[int, int]) -> NDArray[np.float32]:
    """The model's logits at the slice's own size, (H, W)."""
    full: NDArray[np.float32] = to_slice(logits, *shape)[0].cpu().numpy()
    return full


def finish(logits: Float[Tensor, "1 1 s4 s4"], shape: tuple[int, int], options: EngineOptions) -> NDArray[np.bool_]:
    """The mask (H, W) of one slice of the stack."""
    mask: NDArray[np.bool_] = at_slice(logits, shape) > 0
    if options.max_hole_area != 0:
        mask = fill_holes(mask, max_area=options.max_hole_area)
    if options.min_island_area > 1:
        mask = remove_islands(mask, min_size=options.min_island_area)
    return mask
