"""Synthetic volumes."""

import pytest
import torch

from NeuroSAM2Core.synth import render, sample_anatomy, sample_volume
from NeuroSAM2Core.synth.brain import (
    BRAIN,
    CORTEX_LEFT,
    CORTEX_RIGHT,
    CSF,
    OBJECTS,
    VENTRICLES,
    WHITE_LEFT,
    WHITE_RIGHT,
    head_labels,
)
from NeuroSAM2Core.synth.frame import dilate, random_frame

SIZE = (24, 64, 64)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def is_in(labels, wanted):
    return torch.isin(labels, torch.tensor(sorted(wanted), dtype=labels.dtype))


@pytest.mark.parametrize("seed", range(8))
def test_a_volume_follows_from_its_seed(seed):
    one, two = (sample_volume(SIZE, generator(seed)) for _ in range(2))
    assert torch.equal(one.image, two.image)
    assert torch.equal(one.labels, two.labels)
    assert not torch.equal(one.labels, sample_volume(SIZE, generator(seed + 100)).labels)


@pytest.mark.parametrize("size", [(9, 33, 47), (40, 24, 31), (16, 128, 64)])
def test_any_size_can_be_asked_for(size):
    volume = sample_volume(size, generator(3))
    assert volume.image.shape == volume.labels.shape == size


@pytest.mark.parametrize("seed", range(20))
def test_the_picture_is_finite_and_normalised(seed):
    image = sample_volume(SIZE, generator(seed)).image
    assert torch.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1
    assert image.std() > 0.01


@pytest.mark.parametrize("seed", range(10))
def test_every_object_that_is_offered_is_there(seed):
    volume = sample_volume(SIZE, generator(seed))
    assert volume.objects
    for one in volume.objects:
        assert is_in(volume.labels, one.labels).any(), one.name


@pytest.mark.parametrize("seed", range(6))
def test_white_matter_is_wrapped_in_cortex(seed):
    frame = random_frame((48, 64, 64), generator(seed))
    labels = head_labels(frame, generator(seed))
    white, cortex = is_in(labels, {WHITE_LEFT, WHITE_RIGHT}), is_in(labels, {CORTEX_LEFT, CORTEX_RIGHT})
    fluid = is_in(labels, {CSF, 0})
    if not white.any():
        return
    touches_outside = dilate(fluid, 1) & white
    assert cortex.any()
    assert touches_outside.sum() < 0.35 * white.sum()


def test_the_brain_holds_its_parts():
    names = {one.name: one.labels for one in OBJECTS}
    for part in ("white matter", "cortex", "right cerebrum", "ventricles", "cerebellum", "whole lesion"):
        assert names[part] <= BRAIN
    assert VENTRICLES in BRAIN
    assert CSF not in BRAIN


def test_one_anatomy_has_many_contrasts_some_inverted():
    anatomy = next(a for a in (sample_anatomy(SIZE, generator(s)) for s in range(50)) if a.is_head)
    white, cortex = is_in(anatomy.labels, {WHITE_LEFT, WHITE_RIGHT}), is_in(anatomy.labels, {CORTEX_LEFT, CORTEX_RIGHT})
    pictures = [render(anatomy, generator(seed)).image for seed in range(30)]
    brighter = [bool(p[white].mean() > p[cortex].mean()) for p in pictures]
    assert any(brighter)
    assert not all(brighter)


def test_some_pictures_are_black_around_the_object_as_after_skull_stripping():
    anatomy = next(a for a in (sample_anatomy(SIZE, generator(s)) for s in range(50)) if a.is_head)
    outside = anatomy.labels == 0
    flat = [float(render(anatomy, generator(seed)).image[outside].std()) < 1e-6 for seed in range(20)]
    assert any(flat)
    assert not all(flat)
