"""The mask of the first box on a slice, refined by what the mask refiner makes of the box.

A small model tends to fill the box. The refiner sees the pixels and which of their intensities are in the box rather than around it.
On propagated slices the mask of the slice before says where the object is; see `mask_refinement`.
"""

import numpy as np
from jaxtyping import Float

from NeuroSAM2Core.inference.prediction.mask_refinement import logits_of_views, with_posterior
from NeuroSAM2Core.inference.prediction.refiner_view import CellBox, box_differs, view_of_box
from NeuroSAM2Core.model import MaskPrediction
from NeuroSAM2Core.model.mask_refiner import SIDE, MaskRefiner

MARGIN = 1
"""So far beyond the box the object can reach, cells."""


def refine_box_mask(
    answer: MaskPrediction,
    picture: Float[np.ndarray, "64 64"],
    bounds: tuple[float, float, float, float],
    refiner: MaskRefiner,
) -> MaskPrediction:
    """The answer to a box with the mask that the refiner finds in it; where intensities do not differ there the model's mask stays.

    Args:
        answer: The model's, for one object. Its expected IoU is kept; what is found is present.
        picture: The crop that it saw.
        bounds: The box on that picture: top, left, bottom, right, borders of the outermost cells.
        refiner: On the answer's device.
    """
    box = CellBox.of(bounds, SIDE)
    if not box_differs(picture, box):
        return answer
    posterior = logits_of_views(refiner, view_of_box(picture, box)[None])[0]
    reach = box.widened_mask(MARGIN, SIDE)
    return with_posterior(answer, posterior, reach) if (reach & (posterior > 0)).any() else answer
