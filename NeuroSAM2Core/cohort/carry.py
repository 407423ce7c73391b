"""Where the objects of annotated cases lie in a new scan: each case is registered with it and says so, and together they vote.

The vote is the shape whose signed distance is the mean of theirs, so that two cases that differ give what lies between them. How alike two
and two are is a measure of doubt.

Source: Rohlfing and Maurer, "Shape-based averaging", 2007; Artaechevarria et al., "Combination strategies in multi-atlas image
segmentation: application to brain MR data", 2009 (weights by how alike the images are).
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.cohort.plan import Template
from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.errors import DataError, GeometryError
from NeuroSAM2Core.labels import LabelTable, find_table, labels_on_grid, read_table, table_for, whole_numbers
from NeuroSAM2Core.measures import dice
from NeuroSAM2Core.registration import carried_labels, deformed_labels, register_people, thinned
from NeuroSAM2Core.volume import Volume

Mask = NDArray[np.bool_]


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


def carry(
    templates: Sequence[LoadedTemplate],
    image: Volume,
    *,
    bspline: bool = False,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Vote:
    """The objects of annotated cases on a new scan.

    Args:
        templates: At least one.
        image: The new scan.
        bspline: Registration goes on to a B-spline.
        is_cancelled: Asked in every step.

    Raises:
        ConfigError: SimpleITK is not installed.
        DataError: No annotated case can be registered, or nothing of any object lies in the scan.
        Cancelled: It was asked for.
    """
    later = thinned(image)
    maps: list[tuple[NDArray[np.int32], float]] = []
    similarities: list[float] = []
    problem: DataError | GeometryError | None = None
    for template in templates:
        try:
            found = register_people(template.image, later, is_cancelled=is_cancelled)
            if bspline:
                labels = deformed_labels(
                    template.labels, template.image, later, image, found, is_cancelled=is_cancelled
                )
            else:
                labels = carried_labels(template.labels, image, found)
            maps.append((labels, found.similarity))
            similarities.append(found.similarity)
        except (DataError, GeometryError) as error:
            problem = error
            similarities.append(0.0)
    if not maps and problem is not None:
        raise problem
    masks, agreements = {}, {}
    for entry in joined_table(templates).entries:
        voters = [(labels == entry.value, weight) for labels, weight in maps]
        voters = [(mask, weight) for mask, weight in voters if mask.any()]
        if voters:
            weights = [weight for _, weight in voters]
            masks[entry.value] = vote_on([mask for mask, _ in voters], weights, image.spacing_mm)
            pairs = [dice(a, b) for (a, _), (b, _) in itertools.combinations(voters, 2)]
            agreements[entry.value] = float(np.mean(pairs)) if pairs else None
    if not masks:
        raise DataError(
            f"nothing of any object lies in {image.name}", hint="does the scan show the same part of the body?"
        )
    return Vote(masks=masks, agreements=agreements, similarities=tuple(similarities))


def vote_on(masks: Sequence[Mask], similarities: Sequence[float], spacing_mm: tuple[float, float, float]) -> Mask:
    """The shape between several, (K, J, I): its signed distance is the mean of theirs.

    Args:
        masks: On one grid; none is empty.
        similarities: Of each voter with the scan; their squares are the weights of the mean.
        spacing_mm: Along i, j, k.
    """
    if len(masks) == 1:
        return masks[0]
    box = bounding_box(np.logical_or.reduce(masks))
    assert box is not None, "none is empty"
    wider = tuple(slice(max(0, one.start - 1), one.stop + 1) for one in box)
    weights = np.square(similarities) + 1e-12
    mean = np.average([_signed_distance(one[wider], spacing_mm) for one in masks], axis=0, weights=weights)
    voted = np.zeros_like(masks[0])
    voted[wider] = mean < 0
    return voted if voted.any() else masks[int(np.argmax(similarities))]


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
