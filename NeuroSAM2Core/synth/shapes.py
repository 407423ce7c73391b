"""Label maps that are no anatomy at all: blobs, ellipsoids, tubes and sheets, so that a model learns to follow any prompt.

Idea: Hoffmann et al., "SynthMorph", 2022 (labels from noise); Wong et al., "ScribblePrompt", 2024.
"""

import torch
from torch import Tensor

from NeuroSAM2Core.synth.frame import Frame, chance, uniform


def noise_labels(frame: Frame, generator: torch.Generator) -> Tensor:
    """Space divided among noise fields: each voxel belongs to the largest, (D, H, W) uint8."""
    count = 3 + int(uniform(generator, 0, 7))
    cell = uniform(generator, 0.15, 0.7)
    fields = torch.stack([frame.noise(cell, generator) + 0.3 * frame.noise(cell / 3, generator) for _ in range(count)])
    return fields.argmax(dim=0).to(torch.uint8)


def scattered_labels(frame: Frame, generator: torch.Generator) -> Tensor:
    """Ellipsoids, tubes and shells scattered in a large body or in nothing, (D, H, W) uint8."""
    labels = torch.zeros(frame.size, dtype=torch.uint8, device=generator.device)
    label = 1
    if chance(generator, 0.6):
        labels[frame.depth((0.0, 0.0, 0.0), (0.9, 1.0, 0.9)) + 0.1 * frame.noise(0.4, generator) > 0] = label
        label += 1
    for _ in range(4 + int(uniform(generator, 0, 9))):
        x, y, z = (uniform(generator, -0.8, 0.8) for _ in range(3))
        size = uniform(generator, 0.05, 0.4)
        radii = (size, size * uniform(generator, 0.4, 2.0), size * uniform(generator, 0.4, 2.0))
        depth = frame.depth((x, y, z), radii) + 0.3 * size * frame.noise(size, generator)
        kind = uniform(generator)
        if kind < 0.2:  # a tube: where two noise sheets meet
            a, b = frame.noise(0.5, generator), frame.noise(0.5, generator)
            inside = a**2 + b**2 < uniform(generator, 0.01, 0.06)
        elif kind < 0.35:  # a shell
            inside = depth.abs() < uniform(generator, 0.1, 0.3) * size
        else:
            inside = depth > 0
        labels[inside] = label
        label += 1
    return labels
