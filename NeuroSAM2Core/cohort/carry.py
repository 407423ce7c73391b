"""Where the objects of annotated cases lie in a new scan: each case is registered with it and says so, and together they vote.

The vote is the shape whose signed distance is the mean of theirs, so that two cases that differ give what lies between them. How alike two
and two are is a measure of doubt.

Source: Rohlfing and Maurer, "Shape-based averaging", 2007; Artaechevarria et al., "Combination strategies in multi-atlas image
segmentation: application to brain MR data", 2009 (weights by how alike the images are).
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.cohort.plan import Template
from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.errors import DataError, GeometryError
from NeuroSAM2Core.labels import LabelTable, find_table, labels_on_grid, read_table, table_for, whole_numbers
from NeuroSAM2Core.measures import dice
from NeuroSAM2Core.registration import (
    Deformation,
    Registration,
    carried_labels,
    deformed_labels,
    register_people,
    thinned,
)
from NeuroSAM2Core.volume import Volume

Mask = NDArray[np.bool_]
MARGIN_MM = 25.0
"""Farther than heads are bent beyond an affine map, and than the surroundings of an object reach."""
SHARPNESS, LEAST_UNLIKE = 4.0, 1e-4
"""A case that is twice as unlike counts a sixteenth; nobody is more like than this."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedTemplate:
    """An annotated case in memory, as small as registration needs it."""

    image: Volume
    labels: Volume
    table: LabelTable

    @classmethod
    def read(cls, template: Template) -> "LoadedTemplate":
        """Reads its files.

        Raises:
            DataError: One is missing or damaged, or the labels are none or lie outside the image.
            GeometryError: A file does not hold one volume.
        """
        image, labels = Volume.read(template.image), Volume.read(template.labels)
        labels_on_grid(labels, image)  # they belong together
        values = [value for value in np.unique(whole_numbers(labels)).tolist() if value > 0]
        known = find_table(Path(template.labels))
        table = table_for(values) if known is None else read_table(known).restricted(values)
        return cls(thinned(image), labels, table)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Vote:
    """What the annotated cases say of a new scan."""

    masks: dict[int, Mask] = field(default_factory=dict)
    """(K, J, I) by label value; only those of which something lies in the scan."""
    agreements: dict[int, float | None] = field(default_factory=dict)
    """Mean Dice of the cases two and two, by label value; None where only one has the object."""
    similarities: tuple[float, ...] = ()
    """Mutual information with each annotated case once registered; 0 where that failed."""


class Deform(Protocol):
    """Bends one head onto another, beyond an affine map."""

    def __call__(
        self, earlier: Volume, later: Volume, registration: Registration, *, is_cancelled: Callable[[], bool]
    ) -> Deformation:
        """Does it; see `spline_deformation`.

        Raises:
            DataError: They have nothing in common.
            Cancelled: It was asked for.
        """


@dataclass(frozen=True, slots=True, eq=False)
class _Voter:
    """What one annotated case says."""

    labels: NDArray[np.int32]
    """(K, J, I)."""
    similarity: float
    deformation: Deformation | None

    def weight(self, box: tuple[slice, ...], image: Volume) -> float:
        """What it counts in a box of the scan: more where it looks like the scan there."""
        unlike = None if self.deformation is None else self.deformation.unlike_in(box, image)
        return self.similarity**2 if unlike is None else max(unlike, LEAST_UNLIKE) ** -SHARPNESS


def carry(
    templates: Sequence[LoadedTemplate],
    image: Volume,
    *,
    deform: Deform | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Vote:
    """The objects of annotated cases on a new scan.

    Args:
        templates: At least one.
        image: The new scan.
        deform: Bends each of them onto it; an affine map is all if None.
        is_cancelled: Asked in every step.

    Raises:
        ConfigError: SimpleITK is not installed.
        DataError: No annotated case can be registered, or nothing of any object lies in the scan.
        Cancelled: It was asked for.
    """
    later = thinned(image)
    voters: list[_Voter] = []
    similarities: list[float] = []
    problem: DataError | GeometryError | None = None
    for template in templates:
        try:
            found = register_people(template.image, later, is_cancelled=is_cancelled)
            if deform is None:
                voters.append(_Voter(carried_labels(template.labels, image, found), found.similarity, None))
            else:
                bent = deform(template.image, around(template.labels, later, found), found, is_cancelled=is_cancelled)
                voters.append(_Voter(deformed_labels(template.labels, image, found, bent), found.similarity, bent))
            similarities.append(found.similarity)
        except (DataError, GeometryError) as error:
            problem = error
            similarities.append(0.0)
    if not voters and problem is not None:
        raise problem
    masks, agreements = {}, {}
    for entry in joined_table(templates).entries:
        said = [(one, one.labels == entry.value) for one in voters]
        said = [(one, mask) for one, mask in said if mask.any()]
        if said:
            box = bounding_box(np.logical_or.reduce([mask for _, mask in said]))
            assert box is not None, "none is empty"
            weights = [one.weight(box, image) for one, _ in said]
            masks[entry.value] = vote_on([mask for _, mask in said], weights, image.spacing_mm)
            pairs = [dice(a, b) for (_, a), (_, b) in itertools.combinations(said, 2)]
            agreements[entry.value] = float(np.mean(pairs)) if pairs else None
    if not masks:
        raise DataError(
            f"nothing of any object lies in {image.name}", hint="does the scan show the same part of the body?"
        )
    return Vote(masks=masks, agreements=agreements, similarities=tuple(similarities))


def around(labels: Volume, later: Volume, registration: Registration) -> Volume:
    """The part of a scan in which labelled objects of another head may lie, with `MARGIN_MM` around it: all that needs to be looked at.

    Raises:
        DataError: Nothing of them lies in the scan.
    """
    margins = [math.ceil(MARGIN_MM / mm) for mm in later.spacing_mm[::-1]]
    box = bounding_box(carried_labels(labels, later, registration) > 0, margins)
    if box is None:
        raise DataError(f"nothing of any object lies in {later.name}")
    matrix = later.ijk_to_ras.copy()
    matrix[:3, 3] = later.to_ras(np.array([one.start for one in box[::-1]]))
    return Volume(np.ascontiguousarray(later.voxels[box]), matrix, name=later.name)


def vote_on(masks: Sequence[Mask], weights: Sequence[float], spacing_mm: tuple[float, float, float]) -> Mask:
    """The shape between several, (K, J, I): its signed distance is the mean of theirs.

    Args:
        masks: On one grid; none is empty.
        weights: Of the mean.
        spacing_mm: Along i, j, k.
    """
    if len(masks) == 1:
        return masks[0]
    box, mean = _mean_distance(masks, weights, spacing_mm)
    voted = np.zeros_like(masks[0])
    voted[box] = mean < 0
    return voted if voted.any() else masks[int(np.argmax(weights))]


def settled(objects: Iterable[tuple[int, Sequence[Mask]]], weights: Sequence[float], grid: Volume) -> NDArray[np.int32]:
    """Objects as one label map, (K, J, I), each the shape between several; a voxel that two claim goes to the one that it lies deeper in.

    Args:
        objects: The label value of each, and its shapes; empty ones have no say.
        weights: Of the shapes, in their order.
        grid: That of the shapes.
    """
    labels, depths = np.zeros(grid.shape, np.int32), np.zeros(grid.shape, np.float32)
    for value, masks in objects:
        there = [(mask, weight) for mask, weight in zip(masks, weights, strict=True) if weight and mask.any()]
        if there:
            box, mean = _mean_distance([mask for mask, _ in there], [weight for _, weight in there], grid.spacing_mm)
            wins = mean < depths[box]
            labels[box][wins] = value
            depths[box][wins] = mean[wins]
    return labels


def _mean_distance(
    masks: Sequence[Mask], weights: Sequence[float], spacing_mm: tuple[float, float, float]
) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
    """A box around all of the masks, and the mean of their signed distances in it."""
    box = bounding_box(np.logical_or.reduce(masks), margin=1)
    assert box is not None, "none is empty"
    shares = np.array(weights, np.float64) / max(weights) + 1e-12
    distances = [_signed_distance(one[box], spacing_mm) for one in masks]
    return box, np.average(distances, axis=0, weights=shares).astype(np.float32)


def joined_table(templates: Sequence[LoadedTemplate]) -> LabelTable:
    """Names and colours of all label values; the first case that has a value names it."""
    return LabelTable(tuple(entry for one in reversed(templates) for entry in one.table.entries))


def _signed_distance(mask: Mask, spacing_mm: tuple[float, float, float]) -> NDArray[np.float32]:
    """In mm from the middles of voxels to the surface, below 0 inside."""
    from scipy import ndimage

    sampling = spacing_mm[::-1]
    outside = ndimage.distance_transform_edt(~mask, sampling=sampling) if not mask.all() else np.zeros(mask.shape)
    inside = ndimage.distance_transform_edt(mask, sampling=sampling) if not mask.all() else np.full(mask.shape, np.inf)
    return np.asarray(np.where(mask, 0.5 * min(spacing_mm) - inside, outside - 0.5 * min(spacing_mm)), np.float32)
