"""The labels of a complete head: their numbers, their names, and the groups that other modules ask for.

Label maps are (K, J, I) uint8 at 1 mm: K points up (superior), J to the front (anterior), I to the patient's right.
"""

import numpy as np
from jaxtyping import Bool, UInt8

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
