"""Clips from heads made of label maps: what they are about, where their pixels come from, and that masks and pictures agree with labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.synth.anatomy.heads import Head
from NeuroSAM2Core.synth.anatomy.labels import ID, NUM_LABELS, OBJECT_LABELS, OBJECT_NAMES, object_weights
from NeuroSAM2Core.training import anatomy
from NeuroSAM2Core.training.anatomy import (
    END_FRACTION,
    MIN_AREA_MM2,
    AnatomyBatches,
    AnatomyClips,
    ClipRequest,
    choose_objects,
    choose_target,
    choose_view,
    cut,
    is_single_step,
    request_of,
)
from NeuroSAM2Core.training.config.pretraining import AnatomyConfig, ClipConfig
from NeuroSAM2Core.training.step.prompts import plan_generator, planned
from Testing.Support.anatomy import small_bank, small_labels

SMALL = AnatomyConfig(heads=2, steps=12, image_size=64, clips=2, slices=(6, 7), objects=3)
REQUEST = ClipRequest(image_size=64, slices=6, objects=2, crop_range=(1.3, 4.0), even_sizes=False)
PUTAMEN = OBJECT_NAMES.index("putamen L")


@pytest.fixture(scope="module")
def head():
    return Head.of(small_labels())


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return small_bank(tmp_path_factory.mktemp("bank"))


def test_the_batch_of_a_step_follows_from_the_seed_and_the_step(bank):
    batches = AnatomyBatches(SMALL, bank)
    again = AnatomyBatches(SMALL, bank)[1]
    assert torch.equal(batches[1].images, again.images)
    assert torch.equal(batches[1].masks, again.masks)
    other = AnatomyBatches(replace(SMALL, seed=2), bank)[1]
    assert other.images.shape != again.images.shape or not torch.equal(other.images, again.images)


def test_clips_have_six_or_seven_slices_and_every_third_step_has_single_ones(bank):
    batches = AnatomyBatches(SMALL, bank)
    lengths = [batches[step].images.shape[:2] for step in range(6)]
    assert [count for count, _ in lengths] == [2, 2, 6, 2, 2, 6]
    assert [slices == 1 for _, slices in lengths] == [False, False, True, False, False, True]
    assert {slices for _, slices in lengths} <= {1, 6, 7}
    assert not any(is_single_step(replace(SMALL, single_every=0), step) for step in range(9))


def test_every_object_can_be_seen_where_its_clip_begins(bank):
    batches = AnatomyBatches(SMALL, bank)
    for step in range(4):
        batch = batches[step]
        assert batch.masks[:, :, 0].flatten(2).any(dim=2).all()
        assert batch.images.min() >= 0
        assert batch.images.max() <= 1


@pytest.mark.parametrize("crop", [0.0, 1.0])
def test_masks_are_where_the_labels_are(head, crop, monkeypatch):
    views = []

    def listening(*asked, **options):
        views.append(choose_view(*asked, **options))
        return views[-1]

    monkeypatch.setattr(anatomy, "choose_view", listening)
    monkeypatch.setattr(anatomy, "_oriented", lambda clip, rng: clip)
    monkeypatch.setattr(anatomy, "_add_lesions", lambda *asked: None)
    monkeypatch.setattr(AnatomyClips, "_choose_first", lambda *asked: PUTAMEN)
    config = ClipConfig(crop=crop, lesion=0.0, formulas=0.0, joined=0.0)
    drawn = None
    for seed in range(9):
        drawn = AnatomyClips([head], config).draw(np.random.default_rng(seed), REQUEST)
        if drawn is not None:
            break
    assert drawn is not None
    view = views[-1]
    rows, cols = (
        np.floor(start + (np.arange(64) + 0.5) * extent / 64).astype(int)
        for start, extent in zip(view.start, view.extent, strict=True)
    )
    planes = np.moveaxis(head.labels, view.axis, 0)
    for t, number in enumerate(view.numbers):
        for mask, row, col in ((drawn.masks[0, 0, t, r, c], r, c) for r in range(0, 64, 3) for c in range(0, 64, 3)):
            place = np.array([number, rows[row], cols[col]])
            if (place < 1).any() or (place >= np.array(planes.shape) - 1).any():
                continue
            around = planes[number, place[1] - 1 : place[1] + 2, place[2] - 1 : place[2] + 2] == ID["putamen L"]
            if around.all() or not around.any():  # not at a border
                assert bool(mask) == bool(around.all())


def test_a_third_of_the_clips_run_beyond_their_object_and_some_mostly(head):
    config = ClipConfig(lesion=0.0, formulas=0.0)
    drawn = [AnatomyClips([head], config).draw(np.random.default_rng(seed), REQUEST) for seed in range(80)]
    present = torch.stack([clip.masks[0, 0].flatten(1).any(1) for clip in drawn if clip is not None])
    assert len(present) > 30
    assert (~present[:, -1]).float().mean() > 1 / 3
    assert ((~present).float().mean(1) > 0.5).float().mean() > 0.08
    assert present[:, 0].all()


@pytest.mark.parametrize("seed", range(20))
def test_a_clip_that_begins_near_the_end_goes_towards_it(head, seed):
    target = choose_target(head, 0, PUTAMEN, np.random.default_rng(seed), begins_at_end=True)
    visible = np.flatnonzero(head.counts[0] @ OBJECT_LABELS[PUTAMEN] >= MIN_AREA_MM2)
    last = max(1, round(END_FRACTION * len(visible)))
    assert target.slice in (visible[-last:] if target.upwards else visible[:last])
    view = choose_view(head, 0, target, np.random.default_rng(seed), ClipConfig(), num_slices=6, crop_range=(1.3, 4.0))
    assert view.numbers[0] == target.slice
    beyond = (view.numbers > target.ends[1]) | (view.numbers < target.ends[0])
    assert beyond.sum() >= 3


@pytest.mark.parametrize("seed", range(20))
def test_a_long_clip_goes_through_its_object_towards_the_farther_end(head, seed):
    rng = np.random.default_rng(seed)
    target = choose_target(head, 0, PUTAMEN, rng, begins_at_end=False, is_long=True)
    low, high = target.slice - target.ends[0], target.ends[1] - target.slice
    assert target.upwards == (high > low)
    view = choose_view(head, 0, target, rng, ClipConfig(past_end=1.0), num_slices=12, crop_range=(1.3, 4.0))
    inside = (view.numbers >= target.ends[0]) & (view.numbers <= target.ends[1])
    assert inside.sum() >= min(5, max(low, high))


def test_some_clips_are_about_the_whole_brain(head):
    always = AnatomyClips([head], ClipConfig(brain=1.0))
    assert always._choose_first(head, np.random.default_rng(0), REQUEST) == OBJECT_NAMES.index("brain")
    with pytest.raises(ConfigError, match="brain is a probability"):
        ClipConfig(brain=2.0)


@pytest.mark.parametrize("seed", range(20))
def test_a_crop_is_1_3_to_4_times_the_object_and_holds_its_box(head, seed):
    rng = np.random.default_rng(seed)
    target = choose_target(head, 1, PUTAMEN, rng, begins_at_end=False)
    view = choose_view(head, 1, target, rng, ClipConfig(crop=1.0), num_slices=4, crop_range=(1.3, 4.0))
    assert view.is_crop
    side = target.sides.max()
    assert view.extent.max() >= 0.87 * 1.3 * side
    assert view.extent.max() <= 1.15 * max(20.0, 4 * side) + 1
    assert (view.start <= target.low).all()
    assert (view.start + view.extent >= target.high + 1).all()


def test_steps_that_are_prompted_by_clicks_see_more_and_ask_for_all_sizes():
    config = replace(SMALL, clip=ClipConfig(even_sizes=0.0))
    kinds = set()
    for step in range(40):
        request, count = request_of(config, step, np.random.default_rng(step))
        images = torch.zeros(count, request.slices, 1, 1)
        shown = anatomy.ClipBatch(images, torch.zeros(count, 1, request.slices, 1, 1, dtype=torch.bool))
        kind = planned(config.prompts, shown, plan_generator(config.seed, step)).kind
        kinds.add(kind)
        assert request.even_sizes == (kind == "click")
        assert request.crop_range == ((1.3, 6.0) if kind == "click" else (1.3, 4.0))
    assert {"box", "click"} <= kinds


def test_small_objects_are_sampled_by_root_volume_or_evenly_over_octaves():
    volumes = np.zeros(NUM_LABELS)
    volumes[[ID["putamen L"], ID["thalamus L"], ID["caudate L"]]] = 400, 6400, 6500
    single = [OBJECT_NAMES.index(name) for name in ("putamen L", "thalamus L", "caudate L")]
    by_root = object_weights(volumes, even_sizes=False)[single]
    assert by_root[0] / by_root[1] == pytest.approx(4.0)
    evenly = object_weights(volumes, even_sizes=True)
    octaves = {}
    for weight, volume in zip(evenly, OBJECT_LABELS @ volumes, strict=True):
        if weight:
            octaves[int(np.log2(volume))] = octaves.get(int(np.log2(volume)), 0.0) + weight
    assert len(octaves) > 1
    assert list(octaves.values()) == pytest.approx([1.0] * len(octaves))
    assert object_weights(volumes, even_sizes=False)[OBJECT_NAMES.index("eyes")] == 0


def test_no_sliver_is_asked_for_in_a_crop(head):
    seen = np.full((2, 40, 40), ID["white matter L"], np.uint8)
    seen[:, 10:20, 10:20] = ID["putamen L"]
    seen[:, :, 39] = ID["cortex L"]
    seen[:, :20, 39] = ID["thalamus L"]
    tables = choose_objects(
        seen,
        head,
        PUTAMEN,
        np.random.default_rng(0),
        ClipConfig(joined=0.0, min_others=0.02),
        num_objects=8,
        image_size=64,
        is_crop=True,
        even_sizes=False,
    )
    assert tables[0][ID["putamen L"]]
    here = np.bincount(seen[0].ravel(), minlength=NUM_LABELS)
    assert all(table @ here >= 0.08 * seen[0].size for table in tables[1:] if not np.array_equal(table, tables[0]))


def test_a_view_beyond_the_map_is_background(head):
    target = choose_target(head, 0, PUTAMEN, np.random.default_rng(0), begins_at_end=False)
    view = choose_view(
        head, 0, target, np.random.default_rng(0), ClipConfig(crop=0.0), num_slices=3, crop_range=(1.3, 4.0)
    )
    view = replace(view, start=np.array([-10, -10]), numbers=np.array([94, 95, 96]))
    slab, low = cut(head, view)
    assert low == 93
    assert not slab[:, :10].any()
    assert np.array_equal(slab[0, 10:, 10:][: head.labels.shape[1], : head.labels.shape[2]], head.labels[93])
    assert not slab[3:].any()


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="crop_range must be 1 or more"):
        ClipConfig(crop_range=(0.5, 2.0))
    with pytest.raises(ConfigError, match="lesion is a probability"):
        ClipConfig(lesion=1.5)
    with pytest.raises(ConfigError, match="heads must be at least 1"):
        AnatomyConfig(heads=0)
