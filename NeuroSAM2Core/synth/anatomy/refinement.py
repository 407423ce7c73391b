"""Labels at a higher resolution within the slices, with smooth borders instead of the steps of voxels."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import UInt8

from NeuroSAM2Core.synth.noise import blur

SIGMA_MM = 0.5
"""Blur of each label before it is interpolated: rounds steps, and keeps sheets that are one voxel thick."""


def refined(labels: UInt8[np.ndarray, "t h w"], factor: int) -> UInt8[np.ndarray, "t h2 w2"]:
    """Each pixel of a finer grid gets the label whose blurred and interpolated mask is largest there.

    Args:
        labels: At 1 mm.
        factor: Pixels per mm; 1 changes nothing.
    """
    if factor == 1:
        return labels
    size = (labels.shape[1] * factor, labels.shape[2] * factor)
    best = torch.full((labels.shape[0], *size), -1.0)
    out = torch.zeros(best.shape, dtype=torch.uint8)
    source = torch.from_numpy(labels)
    for number in np.unique(labels).tolist():
        soft = blur((source == number).float(), (0.0, SIGMA_MM, SIGMA_MM))
        soft = F.interpolate(soft[None], size=size, mode="bilinear")[0]
        wins = soft > best
        out[wins], best[wins] = number, soft[wins]
    return out.numpy()
