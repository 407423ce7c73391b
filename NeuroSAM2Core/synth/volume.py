"""The types of this package: a map of labels, the objects a person might ask for, and the picture made of them."""

from dataclasses import dataclass

from jaxtyping import Float, UInt8
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SyntheticObject:
    """Something a person might outline."""

    name: str
    labels: frozenset[int]
    """The labels that make it up."""
    weight: float = 1.0
    """How often it is asked for, relative to the others."""


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Geometry without intensities."""

    labels: UInt8[Tensor, "d h w"]
    """0 is background."""
    objects: tuple[SyntheticObject, ...]
    """Only those with at least one voxel."""
    is_head: bool
    """The labels are those of `brain`, so that tissue contrasts apply."""


@dataclass(frozen=True, slots=True)
class SyntheticVolume:
    """A picture with its truth."""

    image: Float[Tensor, "d h w"]
    """Intensities, 0 to 1."""
    labels: UInt8[Tensor, "d h w"]
    objects: tuple[SyntheticObject, ...]
