"""A whole brain from an individual's cortex and nuclei: what the published maps leave out, derived by geometry.

No other atlas is used. Free parameters (how wide the ventricles are, how thick the callosum is, how the brainstem bends, how the cerebellum
is folded) are drawn anew each time, so that one individual gives many brains. The result is plausible, not true: it shows what such
structures look like next to real cortex and real nuclei, and measures nothing.
"""

import numpy as np
from jaxtyping import UInt8

from NeuroSAM2Core.synth.anatomy.cerebrum import add_callosum
from NeuroSAM2Core.synth.anatomy.hindbrain import add_brainstem, add_cerebellum
from NeuroSAM2Core.synth.anatomy.individuals import Individual
from NeuroSAM2Core.synth.anatomy.landmarks import Landmarks
from NeuroSAM2Core.synth.anatomy.ventricles import add_ventricles


def completed(individual: Individual, rng: np.random.Generator) -> UInt8[np.ndarray, "k j i"]:
    """The labels of a whole brain; background where only fluid, bone and the rest of the head can be.

    Args:
        individual: Whose labels have their white matter already; see `with_white_matter`.
        rng: Draws the free parameters.
    """
    labels = individual.labels.copy()
    landmarks = Landmarks.of(labels)
    roof = add_callosum(labels, individual, landmarks, rng)
    add_ventricles(labels, roof, landmarks, rng)
    stem_depth = add_brainstem(labels, landmarks, rng)
    add_cerebellum(labels, individual, stem_depth, landmarks, rng)
    return labels
