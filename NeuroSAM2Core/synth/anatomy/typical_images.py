"""Typical T1 and T2 images of label maps: fixed means of each tissue, mild noise. Training draws its contrasts elsewhere."""

import numpy as np
import torch
from numpy.typing import NDArray

from NeuroSAM2Core.synth.anatomy.labels import ID
from NeuroSAM2Core.synth.noise import blur, smooth_noise

SHARE = {
    "thalamus": 0.5, "caudate": 0.1, "putamen": 0.2, "pallidum": 0.75, "accumbens": 0.05, "hippocampus": 0.0, "amygdala": 0.0,
    "ventral DC": 0.7, "brainstem": 0.85, "corpus callosum": 1.0, "cerebellar cortex": 0.0, "cerebellar white matter": 0.9,
    "cortex": 0.0, "white matter": 1.0,
}  # fmt: skip
"""Where the mean of a tissue is on the way from cortex to white matter."""
MEANS = {
    "T1": {
        "white matter": 1.0, "cortex": 0.72, "CSF": 0.28, "fat": 2.0, "skin": 1.2, "muscle": 0.65, "skull": 0.15, "diploe": 1.1,
        "eye": 0.25, "air cavity": 0.03, "choroid plexus": 0.6, "lesion core": 0.8, "lesion rim": 1.1, "oedema": 0.6,
    },
    "T2": {
        "white matter": 0.52, "cortex": 0.73, "CSF": 1.3, "fat": 1.2, "skin": 0.6, "muscle": 0.3, "skull": 0.08, "diploe": 0.7,
        "eye": 1.3, "air cavity": 0.03, "choroid plexus": 0.9, "lesion core": 1.0, "lesion rim": 0.8, "oedema": 1.0,
    },
}  # fmt: skip
"""Beside white matter in T1 = 1."""


def render_typical(labels: NDArray[np.uint8], modality: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """An image of labels: tissue means, texture, partial volume, a bias field and Rician noise."""
    values = MEANS[modality]
    means = np.zeros(256, dtype=np.float32)
    for name, number in ID.items():
        tissue = name.removesuffix(" L").removesuffix(" R")
        if tissue in SHARE:
            means[number] = values["cortex"] + SHARE[tissue] * (values["white matter"] - values["cortex"])
        else:
            means[number] = values.get("CSF" if "ventricle" in tissue else tissue, 0.0)
    if modality == "T2":
        means[[ID["pallidum L"], ID["pallidum R"]]] = 0.8 * values["white matter"]  # iron
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    image = torch.from_numpy(means[labels])
    size = (image.shape[0], image.shape[1], image.shape[2])
    inside = torch.from_numpy(labels > 0)
    image += 0.02 * torch.randn(size, generator=generator) * inside
    image += 0.03 * smooth_noise(size, 8.0, generator) * inside
    image = blur(image, (0.6, 0.6, 0.6))
    image = image * torch.exp(0.15 * smooth_noise(size, 100.0, generator))
    real, imaginary = (0.03 * torch.randn(size, generator=generator) for _ in range(2))
    return torch.sqrt((image + real) ** 2 + imaginary**2).numpy().astype(np.float32)
