"""A model's answer with given logits, for what refines it."""

import torch

from NeuroSAM2Core.model import MaskPrediction


def answer_of(logits):
    """One object's prediction: expected IoU 0.7, object score 3."""
    nothing = torch.zeros(1, 1)
    return MaskPrediction(
        logits=logits,
        iou=nothing + 0.7,
        pointer=torch.zeros(1, 8),
        object_score_logits=nothing + 3,
        all_logits=logits,
        all_ious=nothing + 0.7,
        all_pointers=torch.zeros(1, 1, 8),
    )


def logits_of(mask, size=4.0):
    """Sure of a mask (H, W)."""
    return torch.where(torch.from_numpy(mask), size, -size).float()[None, None]
