"""One prompt for each connected part of an object instead of one for the whole: the masks of the parts, and their prompts joined again."""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from NeuroSAM2Core.model import Points
from NeuroSAM2Core.model.prompt_encoder import NOTHING
from NeuroSAM2Core.prompts.suggest import parts_of


def parts_by_object(truth: Bool[Tensor, "n h w"], *, max_parts: int) -> Bool[Tensor, "n p h w"]:
    """The parts of every object on a slice (8 neighbours), the largest first; empty masks where an object has fewer.

    Args:
        truth: The objects.
        max_parts: Smaller parts beyond this many get no prompt.
    """
    found = [parts_of(mask, max_parts=max_parts) for mask in truth.cpu().numpy()]
    most = max(1, *(len(parts) for parts in found))
    masks = np.zeros((len(found), most, *truth.shape[1:]), dtype=bool)
    for n, parts in enumerate(found):
        for m, part in enumerate(parts):
            masks[n, m] = part
    return torch.from_numpy(masks).to(truth.device)


def joined(points: Points, num_objects: int) -> Points:
    """The prompts of all parts as those of their objects, without the places that no object uses.

    Args:
        points: Of the parts, (objects times parts) row by row.
        num_objects: How many objects the rows belong to.
    """
    coords = points.coords.reshape(num_objects, -1, 2)
    labels = points.labels.reshape(num_objects, -1)
    is_used = (labels != NOTHING).any(dim=0)
    is_used[0] = True  # an object that is absent is still asked about
    return Points(coords[:, is_used], labels[:, is_used])
