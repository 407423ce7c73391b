"""Samples the objects of a clip: the target, and others visible on its first slice."""

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from NeuroSAM2Core.synth.anatomy.heads import Head
from NeuroSAM2Core.synth.anatomy.labels import ID, LESION, NUM_LABELS, table_of
from NeuroSAM2Core.synth.anatomy.objects import OBJECT_LABELS, object_weights
from NeuroSAM2Core.training.config.anatomy import ClipConfig

MIN_PIXELS = 16
MAX_AREA_RATIO = 0.85
"""Objects that fill more of the picture are not asked for, unless the clip is about them."""
NEVER_JOINED = (0, ID["CSF"], ID["air cavity"])


def choose_objects(
    seen: UInt8[np.ndarray, "t h w"],
    head: Head,
    first: int | None,
    rng: np.random.Generator,
    config: ClipConfig,
    *,
    num_objects: int,
    image_size: int,
    is_crop: bool,
    even_sizes: bool,
) -> Bool[np.ndarray, "o labels"] | None:
    """The label tables of a clip's objects; None where its first one can hardly be seen. Some may be there twice.

    Args:
        seen: The labels of the clip's slices.
        head: Where they are from.
        first: What the clip is about, a row of `OBJECT_LABELS`; None for a lesion.
        rng: Draws the others.
        config: How clips are drawn.
        num_objects: How many are wanted.
        image_size: Side of the picture, pixels.
        is_crop: The clip shows a crop.
        even_sizes: See `object_weights`.
    """
    pixels = image_size**2 / seen[0].size * np.bincount(seen[0].ravel(), minlength=NUM_LABELS)
    chosen = [_lesion(rng) if first is None else OBJECT_LABELS[first]]
    if chosen[0] @ pixels < MIN_PIXELS:
        return None
    areas = OBJECT_LABELS @ pixels
    least = config.min_others * image_size**2 * (4 if is_crop else 1)
    ends = OBJECT_LABELS @ np.bincount(seen[-1].ravel(), minlength=NUM_LABELS) == 0
    weights = object_weights(head.volumes, even_sizes=even_sizes) * np.where(ends, 2.0, 1.0)
    weights *= (areas >= least) & (areas < MAX_AREA_RATIO * image_size**2)
    count = int((weights > 0).sum())
    order: list[int] = (
        rng.choice(len(weights), count, replace=False, p=weights / weights.sum()).tolist() if count else []
    )
    for n in order:
        if len(chosen) == num_objects:
            break
        if all(pixels[table ^ OBJECT_LABELS[n]].any() for table in chosen):  # not the same pixels
            chosen.append(OBJECT_LABELS[n])
    tables = [chosen[n % len(chosen)].copy() for n in range(num_objects)]
    for table in tables:
        if first is not None and rng.random() < config.joined:
            join(table, seen[0], rng)
    return np.stack(tables)


def _lesion(rng: np.random.Generator) -> Bool[np.ndarray, "labels"]:
    """Everything of a lesion, what enhances, or its core."""
    return table_of(*LESION[: 3 - int(rng.integers(3))])


def join(table: Bool[np.ndarray, "labels"], plane: UInt8[np.ndarray, "h w"], rng: np.random.Generator) -> None:
    """Adds one or two of the labels that touch an object on a slice to its table; in place."""
    for _ in range(int(rng.integers(1, 3))):
        mask = table[plane]
        touching = np.unique(plane[ndimage.binary_dilation(mask, iterations=2) & ~mask])
        fitting = [n for n in touching if n not in NEVER_JOINED and (plane == n).sum() < 4 * mask.sum()]
        if not fitting:
            return
        table[int(rng.choice(fitting))] = True
