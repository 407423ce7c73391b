"""What the mask refiner is asked for in heads, as names of labels; the objects of each list are drawn alike often."""

from itertools import product

from NeuroSAM2Core.synth.anatomy.labels import BRAIN, CEREBRUM, NAMES, NUCLEI

Names = tuple[str, ...]

SMALL: tuple[Names, ...] = tuple((f"{name} {side}",) for name, side in product((*NUCLEI, "lateral ventricle"), "LR"))
MIDDLE: tuple[Names, ...] = tuple(
    (name,)
    for name in (
        *("third ventricle", "fourth ventricle", "ventral DC L", "ventral DC R", "corpus callosum", "brainstem"),
    )
)
JOINED: tuple[Names, ...] = (
    ("cerebellar cortex", "cerebellar white matter"),
    ("cerebellar cortex L", "cerebellar white matter L"),
    ("lateral ventricle",),
    ("thalamus",),
    ("putamen L", "pallidum L"),
    ("putamen R", "pallidum R"),
    ("caudate R", "putamen R"),
    ("hippocampus L", "amygdala L"),
    ("hippocampus R", "amygdala R"),
    ("brainstem", "ventral DC"),
)
"""A name without its side stands for both sides."""
OBJECTS = 3 * SMALL + MIDDLE + JOINED
HEMISPHERE: Names = ("cortex", "white matter", "lateral ventricle", "ventral DC", *NUCLEI)
LARGE_OBJECTS: tuple[Names, ...] = (
    *5 * (BRAIN,),
    *2 * ((*BRAIN, "CSF"),),
    *2 * (CEREBRUM,),
    NAMES[1:],
    *2 * (("white matter", "corpus callosum"),),
    ("cortex", *NUCLEI),
    *2 * (("cerebellar cortex", "cerebellar white matter"),),
    *(tuple(f"{name} {side}" for name in HEMISPHERE) for side in "LR"),
)
