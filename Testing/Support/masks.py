"""Masks that are hard to label, and slow obvious answers."""

import numpy as np
from scipy import ndimage

from NeuroSAM2Core.components.cpu import AXES, dims_of

CONNECTIVITIES = (4, 8, 6, 18, 26)


def random_mask(shape, density, seed):
    """Every voxel on its own."""
    return np.random.default_rng(seed).random(shape) < density


def spiral(side):
    """One part, one voxel wide, that winds inwards: the longest chain that fits."""
    mask = np.zeros((side, side), bool)
    row, col, d_row, d_col = 0, 0, 0, 1
    mask[0, 0] = True
    turns = 0
    while turns < 2:
        ahead, beyond = (row + d_row, col + d_col), (row + 2 * d_row, col + 2 * d_col)
        blocked = not all(0 <= v < side for v in ahead)
        if not blocked and all(0 <= v < side for v in beyond):
            blocked = mask[beyond]
        if blocked:
            d_row, d_col = d_col, -d_row
            turns += 1
            continue
        row, col = ahead
        mask[row, col] = True
        turns = 0
    return mask


def comb(shape):
    """Teeth that only the last row joins: every label of the first rows is wrong until the end."""
    mask = np.zeros(shape, bool)
    mask[..., ::2] = True
    mask[..., -1, :] = True
    return mask


def all_small_images():
    """All 65,536 images of 4 x 4 pixels."""
    return (np.arange(1 << 16)[:, None] >> np.arange(16) & 1).astype(bool).reshape(-1, 4, 4)


def first_voxel_labels(mask, connectivity):
    """SciPy's parts, each named by one more than the raster index of its first voxel, image by image of a batch."""
    dims = dims_of(connectivity)
    images = mask.reshape(-1, *mask.shape[-dims:])
    gap = np.pad(
        images, [(0, 0), (0, 1)] + [(0, 0)] * (dims - 1)
    )  # one empty row or plane after each image of the stack
    structure = ndimage.generate_binary_structure(dims, AXES[connectivity])
    labels, count = ndimage.label(gap.reshape(-1, *gap.shape[2:]), structure)
    firsts = np.zeros(count + 1, np.int64)
    firsts[labels.ravel()[::-1]] = np.arange(labels.size)[::-1] % gap[0].size + 1
    firsts[0] = 0
    return firsts[labels].reshape(gap.shape)[:, :-1].reshape(mask.shape)
