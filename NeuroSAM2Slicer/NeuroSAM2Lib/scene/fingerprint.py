"""The identity of an image regardless of its name and file: a hash of its voxels, and its geometry up to rounding."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from NeuroSAM2Core.remote import VolumeHash, wire_matrix, wire_voxels
from NeuroSAM2Core.volume import Volume

SAME_POSITION_MM = 0.01
"""Corners that lie no further apart are the same; NIfTI's single precision moves them by less than a thousandth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """Of one image."""

    voxels: str
    """SHA-256 over type, shape and voxels."""
    ijk_to_ras: tuple[float, ...]
    """Row by row."""

    @classmethod
    def of(cls, volume: Volume) -> "Fingerprint":
        """That of a volume where it is now."""
        hashing = hash_of(volume)
        while not hashing.step():
            pass
        return cls(voxels=hashing.volume_id, ijk_to_ras=wire_matrix(volume))


def hash_of(volume: Volume) -> VolumeHash:
    """The hash over a volume's type, shape and voxels alone, to be computed a little at a time."""
    return VolumeHash(wire_voxels(volume), ())


def is_same_position(volume: Volume, ijk_to_ras: Sequence[float]) -> bool:
    """The corners of the volume lie where another matrix puts them.

    Args:
        volume: A volume.
        ijk_to_ras: Row by row, (16,).
    """
    corners = np.array([(*corner, 1.0) for corner in itertools.product(*((0, n - 1) for n in volume.shape[::-1]))])
    other = np.reshape(ijk_to_ras, (4, 4))
    return bool(np.allclose(corners @ volume.ijk_to_ras.T, corners @ other.T, rtol=0.0, atol=SAME_POSITION_MM))
