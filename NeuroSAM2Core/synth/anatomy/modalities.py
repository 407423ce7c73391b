"""Mean intensities of tissues in T1, T2, FLAIR and CT, as ranges that a contrast is drawn from.

In MRI they are relative to white matter in T1, in CT they are Hounsfield units. Fat is up to 2.6 times as bright as white matter in T1: the
window of a whole head then leaves a tenth of the grey levels to the contrast of grey and white matter.
"""

Range = tuple[float, float]
MODALITIES: dict[str, dict[str, Range]] = {
    "T1": {
        "white matter": (1.0, 1.0), "cortex": (0.58, 0.9), "CSF": (0.12, 0.45), "fat": (1.2, 2.6),
        "skin": (0.8, 1.6), "muscle": (0.45, 0.85), "skull": (0.05, 0.25), "diploe": (0.5, 1.9), "eye": (0.15, 0.4),
        "air cavity": (0.0, 0.06), "choroid plexus": (0.4, 0.9), "lesion core": (0.3, 1.5), "lesion rim": (0.6, 1.7),
        "oedema": (0.4, 0.85),
    },
    "T2": {
        "white matter": (0.45, 0.6), "cortex": (0.62, 0.85), "CSF": (0.95, 1.6), "fat": (0.6, 1.7),
        "skin": (0.4, 0.9), "muscle": (0.2, 0.4), "skull": (0.03, 0.15), "diploe": (0.4, 1.0), "eye": (0.95, 1.6),
        "air cavity": (0.0, 0.06), "choroid plexus": (0.7, 1.1), "lesion core": (0.5, 1.4), "lesion rim": (0.5, 1.1),
        "oedema": (0.8, 1.2),
    },
    "FLAIR": {
        "white matter": (0.5, 0.65), "cortex": (0.64, 0.85), "CSF": (0.05, 0.25), "fat": (0.6, 1.7),
        "skin": (0.4, 0.9), "muscle": (0.25, 0.45), "skull": (0.03, 0.15), "diploe": (0.4, 1.0), "eye": (0.05, 0.3),
        "air cavity": (0.0, 0.06), "choroid plexus": (0.4, 0.8), "lesion core": (0.3, 1.4), "lesion rim": (0.7, 1.3),
        "oedema": (0.85, 1.3),
    },
    "CT": {
        "white matter": (22, 30), "cortex": (33, 42), "CSF": (2, 14), "fat": (-110, -70), "skin": (20, 60),
        "muscle": (45, 65), "skull": (600, 1500), "diploe": (200, 600), "eye": (5, 20), "air cavity": (-1000, -700),
        "choroid plexus": (30, 120), "lesion core": (10, 75), "lesion rim": (25, 80), "oedema": (12, 24),
    },
}  # fmt: skip
PROBABILITIES = {"T1": 0.42, "T2": 0.16, "FLAIR": 0.12, "CT": 0.1}
"""The rest is any contrast at all."""
TOWARDS_WHITE: dict[str, Range] = {
    "thalamus": (0.2, 0.75), "caudate": (-0.1, 0.25), "putamen": (0.0, 0.4), "pallidum": (0.4, 1.15),
    "accumbens": (-0.1, 0.2), "hippocampus": (-0.15, 0.2), "amygdala": (-0.15, 0.15), "ventral DC": (0.4, 0.95),
    "brainstem": (0.65, 1.0), "corpus callosum": (0.95, 1.1), "cerebellar cortex": (-0.15, 0.2),
    "cerebellar white matter": (0.7, 1.05), "cortex": (0.0, 0.0), "white matter": (1.0, 1.0),
}  # fmt: skip
"""Where tissues lie between cortex (0) and white matter (1)."""
