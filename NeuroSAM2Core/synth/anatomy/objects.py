"""The objects that a person asks for, as sets of labels, and how often each is drawn."""

import numpy as np
from jaxtyping import Bool, Float

from NeuroSAM2Core.synth.anatomy.labels import BRAIN, CEREBELLUM, CEREBRUM, ID, NUCLEI, NUM_LABELS, VENTRICLES, ids

MIN_VOLUME = 60
"""Objects with fewer voxels in a head are not asked for there."""


def _of_side(side: str, *names: str) -> list[int]:
    return [ID[f"{name} {side}"] for name in names]


def _named_objects() -> dict[str, tuple[list[int], float]]:
    """Name -> labels, and how much more often than a single structure of that volume."""
    objects = {
        "brain": (ids(*BRAIN), 4.0),
        "brain and CSF": (ids(*BRAIN, "CSF"), 2.0),
        "cerebrum": (ids(*CEREBRUM), 2.0),
        "white matter": (ids("white matter", "corpus callosum"), 4.0),
        "cortex": (ids("cortex"), 2.0),
        "grey matter": (ids("cortex", *NUCLEI), 2.0),
        "lateral ventricles": (ids("lateral ventricle", "choroid plexus"), 2.0),
        "ventricles": (ids(*VENTRICLES, "choroid plexus"), 1.0),
        "cerebellum": (ids(*CEREBELLUM), 3.0),
        "skull": (ids("skull", "diploe"), 3.0),
        "head": (list(range(1, NUM_LABELS)), 3.0),
        "scalp": (ids("skin", "fat"), 1.0),
        "eyes": (ids("eye"), 0.5),
    }
    for side in "LR":
        hemisphere = ("cortex", "white matter", "lateral ventricle", "ventral DC", *NUCLEI)
        objects |= {
            f"hemisphere {side}": (_of_side(side, *hemisphere), 2.0),
            f"white matter {side}": (_of_side(side, "white matter"), 2.0),
            f"cerebellum {side}": (_of_side(side, *CEREBELLUM), 1.0),
            f"lentiform {side}": (_of_side(side, "putamen", "pallidum"), 0.5),
            f"striatum {side}": (_of_side(side, "putamen", "caudate", "accumbens"), 0.3),
            f"hippocampus and amygdala {side}": (_of_side(side, "hippocampus", "amygdala"), 0.5),
            f"lateral ventricle {side}": (_of_side(side, "lateral ventricle"), 1.0),
        }
        objects |= {f"{name} {side}": (_of_side(side, name), 1.0) for name in (*NUCLEI, "ventral DC")}
    objects |= {f"{name} both": (ids(name), 0.3) for name in NUCLEI if name != "accumbens"}
    single = ("third ventricle", "fourth ventricle", "brainstem", "corpus callosum")
    return objects | {name: (ids(name), 1.0) for name in single}


_OBJECTS = _named_objects()
OBJECT_NAMES = tuple(_OBJECTS)
OBJECT_LABELS: Bool[np.ndarray, "objects labels"] = np.zeros((len(_OBJECTS), NUM_LABELS), bool)
"""One row for each object: True for the labels that make it up."""
for _row, (_labels, _) in zip(OBJECT_LABELS, _OBJECTS.values(), strict=True):
    _row[_labels] = True
OBJECT_FACTORS: Float[np.ndarray, "objects"] = np.array([factor for _, factor in _OBJECTS.values()])


def object_weights(label_volumes: Float[np.ndarray, "labels"], *, even_sizes: bool) -> Float[np.ndarray, "objects"]:
    """How often each object of a head is asked for; 0 where it is not there.

    Args:
        label_volumes: Voxels of each label in the head.
        even_sizes: Evenly over the logarithm of the volume, as a click may mean a thing of any size; else by 1 / sqrt(volume), so
            that small structures are asked for often.
    """
    volumes = OBJECT_LABELS @ label_volumes
    if even_sizes:
        octave = np.log2(np.maximum(volumes, 1)).astype(int)
        weights = 1 / np.bincount(octave)[octave]
    else:
        weights = OBJECT_FACTORS / np.sqrt(np.maximum(volumes, MIN_VOLUME))
    return np.where(volumes > MIN_VOLUME, weights, 0.0)
