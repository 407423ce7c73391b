"""The labels of a complete head: their numbers, their names, and the groups that other modules ask for.

Label maps are (K, J, I) uint8 at 1 mm: K points up (superior), J to the front (anterior), I to the patient's right.

The objects that a person asks for, as sets of labels, and how often each is drawn.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

NAMES = (
    "background",
    "cortex L", "cortex R", "white matter L", "white matter R",
    "lateral ventricle L", "lateral ventricle R", "third ventricle", "fourth ventricle",
    "thalamus L", "thalamus R", "caudate L", "caudate R", "putamen L", "putamen R", "pallidum L", "pallidum R",
    "accumbens L", "accumbens R", "hippocampus L", "hippocampus R", "amygdala L", "amygdala R",
    "ventral DC L", "ventral DC R", "corpus callosum", "choroid plexus",
    "cerebellar cortex L", "cerebellar cortex R", "cerebellar white matter L", "cerebellar white matter R", "brainstem",
    "CSF", "skull", "diploe", "skin", "fat", "muscle", "eye", "air cavity",
    "lesion core", "lesion rim", "oedema",
)  # fmt: skip
ID = {name: number for number, name in enumerate(NAMES)}
NUM_LABELS = 64
"""Length of every table that is indexed by label; more than there are names."""
NUCLEI = ("thalamus", "caudate", "putamen", "pallidum", "accumbens", "hippocampus", "amygdala")
CEREBRUM = (
    *(
        "cortex",
        "white matter",
        "lateral ventricle",
        "third ventricle",
        "corpus callosum",
        "choroid plexus",
        "ventral DC",
    ),
    *NUCLEI,
)
CEREBELLUM = ("cerebellar cortex", "cerebellar white matter")
LESION = ("lesion core", "lesion rim", "oedema")
BRAIN = (*CEREBRUM, *CEREBELLUM, "brainstem", "fourth ventricle", *LESION)
VENTRICLES = ("lateral ventricle", "third ventricle", "fourth ventricle")


def ids(*names: str) -> list[int]:
    """The numbers of labels; a name without its side stands for both sides."""
    numbers = []
    for name in names:
        numbers += [ID[name]] if name in ID else [ID[f"{name} L"], ID[f"{name} R"]]
    return numbers


def table_of(*names: str) -> Bool[np.ndarray, "labels"]:
    """A table of `NUM_LABELS` booleans: True for the named labels."""
    table = np.zeros(NUM_LABELS, bool)
    table[ids(*names)] = True
    return table


def is_in(labels: UInt8[np.ndarray, "..."], *names: str) -> Bool[np.ndarray, "..."]:
    """Where a label map of any shape has one of the named labels."""
    table = np.zeros(256, bool)
    table[ids(*names)] = True
    return np.asarray(table[labels])


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
