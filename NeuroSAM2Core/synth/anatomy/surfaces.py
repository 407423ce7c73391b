"""Closed surfaces: read from FIFF files, and filled on the grid of the label maps."""

import struct
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.synth.anatomy.grid import SHAPE

NODES, TRIANGLES = 3105, 3106
"""Kinds of FIFF tags."""
TAG_BYTES = 16


def read_fif_surface(path: Path) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "t 3"]]:
    """Vertices in metres and triangles of the first surface in a FIFF file.

    Raises:
        DataError: There is no surface in the file.
    """
    data, at = path.read_bytes(), 0
    found: dict[int, np.ndarray] = {}
    while at + TAG_BYTES <= len(data):
        kind, _, size, following = struct.unpack(">iiii", data[at : at + TAG_BYTES])
        body = data[at + TAG_BYTES : at + TAG_BYTES + size]
        if kind in (NODES, TRIANGLES) and kind not in found:
            (ndim,) = struct.unpack(">i", body[-4:])
            dims = struct.unpack(f">{ndim}i", body[-4 * (ndim + 1) : -4])[::-1]
            values = np.frombuffer(body[: 4 * int(np.prod(dims))], ">f4" if kind == NODES else ">i4")
            found[kind] = values.reshape(dims)
        if following == -1:
            break
        at = at + TAG_BYTES + size if following == 0 else following
    if len(found) < 2:
        raise DataError(f"{path.name} holds no surface", hint="install the package that it belongs to again")
    return found[NODES].astype(np.float64), found[TRIANGLES].astype(np.int64) - 1


def filled_surface(
    points_kji: Float[np.ndarray, "v 3"], triangles: Int[np.ndarray, "t 3"]
) -> Bool[np.ndarray, "k j i"]:
    """The inside of a closed surface given in voxels: a densely sampled shell, filled. The lowest slice may cut it."""
    shell = np.zeros(SHAPE, bool)
    corners = points_kji[triangles]
    parts = np.ceil(2 * np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)).astype(int)
    for n in np.unique(parts):
        weights = (
            [(a / n, b / n, 1 - (a + b) / n) for a in range(n + 1) for b in range(n + 1 - a)]
            if n
            else [(1.0, 0.0, 0.0)]
        )
        samples = np.einsum("wv,tvc->twc", np.array(weights), corners[parts == n]).reshape(-1, 3).round().astype(int)
        samples = samples[((samples >= 0) & (samples < SHAPE)).all(1)]
        shell[tuple(samples.T)] = True
    shell[0] |= ndimage.binary_fill_holes(shell[0])
    padded = np.pad(shell, ((0, 0), (1, 1), (1, 1)))
    space, _ = ndimage.label(~padded)
    inside: Bool[np.ndarray, "k j i"] = ~(space == space[-1, 0, 0])[:, 1:-1, 1:-1]
    return inside
