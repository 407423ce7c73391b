"""From files to batches: the same numbers as the engine, the same batch for the same step, nothing lost and nothing unbounded."""

import json
import logging
from dataclasses import replace

import nibabel
import numpy as np
import psutil
import pytest
import torch
from safetensors.numpy import save_file

from NeuroSAM2Core import Session, Volume
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.inference.prediction.crop import Crop
from NeuroSAM2Core.inference.prediction.feature_cache import FeatureCache
from NeuroSAM2Core.model import SAM2, SAM2Config, to_model_input
from NeuroSAM2Core.training.config.data import AugmentationConfig, DataConfig, SamplingConfig
from NeuroSAM2Core.training.data import fine_tuning_batches, read_cases
from NeuroSAM2Core.training.data.batches import BatchPlan, CaseFolder, FineTuningClips
from NeuroSAM2Core.training.data.clip import (
    ClipBatch,
    ClipPlan,
    TrainingVolume,
    cut_clip,
    draw_clip,
    plan_clip,
    squared_masks,
)
from NeuroSAM2Core.training.data.dataset import Case, ObjectMap, SkippedCases, find_objects
from NeuroSAM2Core.training.data.transforms import Augmentation, prepare
from NeuroSAM2Core.volume import SliceStack, resolve_axis
from Testing.Support.cases import two_balls, write_dataset
from Testing.Support.models import small_model
from Testing.Support.volumes import UPRIGHT

PLAIN = AugmentationConfig(
    flip=0, rotate=0, contrast=0, noise=0, smoothing=0, histogram_shift=0, sharpening=0, elastic=0
)
SAMPLING = SamplingConfig(clips=2, slices=3, max_objects=2)
OBLIQUE = np.array([[0.1, 1.9, 0.2, 3], [-2.0, 0.1, 0.3, 4], [0.3, -0.2, 2.9, 5], [0, 0, 0, 1.0]])
LEFT_HANDED = np.array([[0, 0, -1.5, 9], [0, 2, 0, 8], [1, 0, 0, 7], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("cases"))


@pytest.fixture
def data(dataset):
    return DataConfig(datasets=(str(dataset),))


def drawn(data, *, start=0, stop=4, step=1, seed=7, workers=0, sampling=SAMPLING, skipped=None):
    numbers = iter(range(start, stop, step))
    options = {"image_size": 64, "seed": seed, "numbers": numbers, "workers": workers, "skipped": skipped}
    return list(fine_tuning_batches(data, sampling, **options))


def same(a, b):
    return torch.equal(a.images, b.images) and torch.equal(a.masks, b.masks) and torch.equal(a.is_real, b.is_real)


@pytest.mark.parametrize(
    ("matrix", "axis", "kind"),
    [
        (UPRIGHT, "axial", np.int16),
        (UPRIGHT, "sagittal", np.float32),
        (OBLIQUE, "axial", np.uint16),
        (OBLIQUE, "coronal", np.int16),
        (LEFT_HANDED, "axial", np.float32),
        (LEFT_HANDED, "sagittal", np.int16),
    ],
)
def test_training_and_inference_normalise_a_volume_identically(tmp_path, matrix, axis, kind):
    image, label = two_balls(matrix=matrix)
    voxels = np.clip(image.voxels, 0, None).astype(kind)
    if kind is np.float32:
        voxels[3, 4:9, 5] = np.nan
    nibabel.save(nibabel.Nifti1Image(voxels.T, matrix), tmp_path / "image.nii")
    label.write(tmp_path / "label.nii")
    segmented = Volume.read(tmp_path / "image.nii")
    model = small_model()
    stack = SliceStack.of(segmented, resolve_axis(segmented, axis))
    window = Session(model, segmented).window
    whole = Crop(0, 0, *stack.slice_shape, window)
    cache = FeatureCache(model, stack, max_bytes=0, is_exact=True)
    seen = cache.model_input([(n, whole) for n in range(len(stack))])

    prepared = prepare(Case(name="c", image=tmp_path / "image.nii", label=tmp_path / "label.nii"))
    volume = TrainingVolume.of(prepared.image, find_objects(prepared.labels, DataConfig(datasets=("d",))))
    plan = ClipPlan(tuple(range(len(stack))), (1,))
    clip = cut_clip(volume, resolve_axis(prepared.image, axis), plan, model.config.image_size)
    trained = to_model_input(clip.images[0], model.config.image_size, model.config.intensity_range)
    assert torch.equal(trained, seen)
    assert clip.images.min() < 0.05
    assert clip.images.max() > 0.9


def test_the_other_range_is_the_models_own_and_the_engine_keeps_to_it():
    volume, _ = two_balls()
    stack = SliceStack.of(volume, resolve_axis(volume, "axial"))

    def seen(model):
        whole = Crop(0, 0, *stack.slice_shape, Session(model, volume).window)
        return FeatureCache(model, stack, max_bytes=0, is_exact=True).model_input([(3, whole)])

    config = replace(small_model().config, intensity_range=(-1.0, 1.0))
    assert SAM2Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    grey = seen(small_model()) * std + mean
    torch.testing.assert_close(seen(SAM2(config)), (2 * grey - 1 - mean) / std)


def test_a_batch_follows_from_the_seed_and_its_number(data):
    whole = drawn(data, stop=5)
    for one, again in zip(whole[2:], drawn(data, start=2, stop=5), strict=True):
        assert same(one, again)
    assert not same(whole[0], drawn(data, stop=1, seed=8)[0])
    assert not any(same(a, b) for n, a in enumerate(whole) for b in whole[:n])
    assert all(batch.images.shape == (2, 3, 64, 64) for batch in whole)
    assert all(batch.masks.shape[:3] == (2, batch.is_real.shape[1], 3) for batch in whole)


def test_two_ranks_see_what_one_sees_with_twice_the_clips(data):
    whole = drawn(data, stop=2)
    single = replace(SAMPLING, clips=1)
    ranks = [drawn(data, start=rank, stop=4, step=2, sampling=single) for rank in (0, 1)]
    for one, *halves in zip(whole, *ranks, strict=True):
        assert same(one, ClipBatch.stack(halves))


def test_worker_processes_change_nothing(data):
    for one, other in zip(drawn(data, stop=3), drawn(data, stop=3, workers=2), strict=True):
        assert same(one, other)


def test_ranks_share_an_epoch_and_see_every_case_once(data):
    seen = []
    plan = BatchPlan(data=data, sampling=replace(SAMPLING, clips=1), image_size=64, seed=1)
    for rank in range(3):
        clips = FineTuningClips(plan, read_cases(data.datasets, "training"), cache_bytes=0)
        clips.cache.load = lambda case, load=clips.cache.load: (seen.append(case.name), load(case))[1]
        assert clips[4 * 3 + rank].batch is not None
    assert sorted(seen) == ["image0", "image1", "image2"]


def test_every_object_is_seen_where_its_clip_starts_and_no_more_than_asked_for(data):
    for batch in drawn(data, stop=12):
        assert batch.is_real.shape[1] <= 2
        assert torch.equal(batch.masks[:, :, 0].flatten(2).any(dim=2), batch.is_real)
    single = drawn(data, stop=12, sampling=replace(SAMPLING, max_objects=1))
    assert all(batch.masks.shape[1] == 1 for batch in single)


def test_masks_are_where_the_bright_objects_are(data):
    plain = replace(data, augmentation=PLAIN)
    for batch in drawn(plain, stop=4):
        for clip in range(2):
            taken = batch.masks[clip].any(dim=0)
            assert batch.images[clip][taken].mean() > 0.6


def test_a_random_axis_takes_all_three(tmp_path):
    image, label = two_balls((10, 20, 30))
    volume = TrainingVolume.of(
        image.with_voxels(image.voxels.astype(np.float32)), find_objects(label.voxels, DataConfig(datasets=("d",)))
    )
    clips = [draw_clip(volume, "random", SAMPLING, 32, np.random.default_rng(seed)) for seed in range(20)]
    assert {clip.axis for clip in clips} == {"i", "j", "k"}
    assert {max(clip.plan.slices) < {"k": 10, "j": 20, "i": 30}[clip.axis] for clip in clips} == {True}


def small_ball(radius=4):
    """A volume of 0 to 1 in the middle of which is a ball, and a larger one in a corner."""
    k, j, i = np.mgrid[:24, :96, :112]
    labels = ((k - 12) ** 2 + (j - 50) ** 2 + (i - 60) ** 2 <= radius**2).astype(np.int32)
    labels[(k - 12) ** 2 + (j - 12) ** 2 + (i - 14) ** 2 <= 81] = 2
    voxels = np.random.default_rng(0).uniform(0.2, 0.4, labels.shape) + 0.3 * (labels > 0)
    return TrainingVolume.of(
        Volume(voxels.astype(np.float32), UPRIGHT), find_objects(labels, DataConfig(datasets=("d",)))
    )


CROPPED = SamplingConfig(slices=3, max_objects=2, crop=1.0)


@pytest.mark.parametrize("seed", range(8))
def test_a_crop_shows_its_object_as_large_as_the_engine_does(seed):
    drawn_clip = draw_clip(small_ball(), "axial", CROPPED, 64, np.random.default_rng(seed))
    clip = drawn_clip.clip
    first = clip.masks[0, 0]
    assert first[0].any()
    rows, cols = (torch.where(first.any(dim=0).any(dim=d))[0] for d in (1, 0))
    extent = max(rows[-1] - rows[0], cols[-1] - cols[0]).item() + 1
    assert 64 / 4.6 <= extent <= 64 / 1.2
    assert clip.images.min() < 0.1
    assert clip.images.max() > 0.9  # under the crop's own window
    assert clip.masks.shape[1] == len(drawn_clip.plan.objects)
    assert clip.masks[0, :, 0].flatten(1).any(dim=1).all()  # the other ball may be outside


def test_an_object_that_fills_the_slice_is_seen_on_whole_slices():
    volume = small_ball(radius=40)
    plain = replace(CROPPED, crop=0.0, max_objects=1)
    for seed in range(6):
        clip = draw_clip(volume, "axial", replace(plain, crop=1.0), 64, np.random.default_rng(seed))
        if clip.plan.objects == (1,):
            assert clip.clip.masks[0, 0, 0].float().mean() < 0.7
            whole = cut_clip(volume, clip.axis, clip.plan, 64)
            assert torch.equal(whole.masks, clip.clip.masks)


def test_without_crops_the_same_clips_are_drawn_as_before_there_were_any():
    volume = small_ball()
    rng = np.random.default_rng(3)
    drawn_clip = draw_clip(volume, "axial", replace(CROPPED, crop=0.0), 64, rng)
    assert same(drawn_clip.clip, cut_clip(volume, drawn_clip.axis, drawn_clip.plan, 64))
    again = np.random.default_rng(3)
    plan_clip(volume.areas[0], replace(CROPPED, crop=0.0), again)
    assert rng.random() == again.random()


@pytest.mark.parametrize("wrong", [{"crop": 1.5}, {"crop_range": (0.5, 2.0)}, {"crop_range": (3.0, 2.0)}])
def test_crops_that_cannot_be_drawn_are_reported(wrong):
    with pytest.raises(ConfigError, match=r"sampling\.crop"):
        SamplingConfig(**wrong)


def test_an_object_is_never_lost_in_a_coarse_input():
    masks = torch.zeros(2, 100, 120, dtype=torch.bool)
    masks[0, 57, 31] = True
    assert squared_masks(masks, 32).flatten(1).sum(dim=1).tolist() == [1, 0]
    assert squared_masks(masks, 32)[0].nonzero().tolist() == [[18, 8]]


BAD = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:400]),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", BAD)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_case_that_goes_bad_in_mid_epoch_is_skipped_with_a_warning_that_counts(tmp_path, caplog, how, workers):
    path = write_dataset(tmp_path)
    BAD[how](tmp_path / "image1.nii.gz")
    with caplog.at_level(logging.WARNING):
        skipped = SkippedCases(tmp_path / "skipped.jsonl")
        batches = drawn(DataConfig(datasets=(str(path),)), stop=6, workers=workers, skipped=skipped)
    assert len(batches) == 6
    (line,) = (tmp_path / "skipped.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["case"] == "image1"
    output = [record.getMessage() for record in caplog.records]
    assert len(output) == 1, "once, however often it comes up"
    assert "skipped the case image1 (1 bad so far)" in output[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_case_that_goes_bad_stops_the_run_where_asked(tmp_path, workers):
    path = write_dataset(tmp_path)
    (tmp_path / "image1.nii.gz").unlink()
    with pytest.raises(DataError, match="the case image1 cannot be used: there is no file"):
        drawn(DataConfig(datasets=(str(path),), on_bad_case="stop"), stop=6, workers=workers)


def test_a_run_without_a_usable_case_stops(tmp_path):
    path = write_dataset(tmp_path)
    for number in range(3):
        (tmp_path / f"label{number}.nii.gz").unlink()
    with pytest.raises(DataError, match="none of the 3 cases can be used"):
        drawn(DataConfig(datasets=(str(path),)))


def wrong_shape(image, label):
    return image, Volume(label.voxels[1:], label.ijk_to_ras)


def moved(image, label):
    return image, Volume(label.voxels, label.ijk_to_ras + np.diag([0, 0, 0.1, 0]))


def fractional(image, label):
    return image, label.with_voxels(label.voxels * np.float32(0.5))


def negative(image, label):
    return image, label.with_voxels(-label.voxels.astype(np.int16))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (wrong_shape, r"shape \(36, 40, 11\); its image has \(36, 40, 12\)"),
        (moved, "not on the grid of its image: their matrices put a corner 1.1 mm apart"),
        (fractional, "not whole numbers, for example 0.5"),
        (negative, "values from -2 to 0"),
    ],
)
def test_an_image_and_a_label_that_do_not_belong_together_say_why(tmp_path, spoil, sentence):
    image, label = spoil(*two_balls())
    image.write(tmp_path / "i.nii.gz")
    label.write(tmp_path / "l.nii.gz")
    with pytest.raises(DataError, match=sentence):
        prepare(Case(name="c", image=tmp_path / "i.nii.gz", label=tmp_path / "l.nii.gz"))


def test_prepared_volumes_in_memory_stay_within_their_bound(data):
    plan = BatchPlan(data=data, sampling=SAMPLING, image_size=64, seed=1)
    cases = read_cases(data.datasets, "training")
    one = FineTuningClips(plan, cases, cache_bytes=0)
    one[0], one[3]
    size = one.cache.nbytes
    two = FineTuningClips(plan, cases, cache_bytes=int(2.5 * size))
    loads = []
    two.cache.load = lambda case, load=two.cache.load: (loads.append(case.name), load(case))[1]
    for step in range(12):
        assert same(two[step].batch, one[step].batch)
        assert two.cache.nbytes <= 2.5 * size
        assert one.cache.nbytes <= 1.01 * size, "one volume is always kept, and no more where there is no room"
    assert len(loads) < 24


def test_prepared_volumes_on_disk_give_the_same_batches_and_notice_a_change(data, dataset, tmp_path):
    kept = replace(data, cache_folder=str(tmp_path / "cache"))
    first = drawn(kept, stop=3)
    files = sorted((tmp_path / "cache").iterdir())
    assert len(files) == 3
    assert all(same(a, b) for a, b in zip(first, drawn(kept, stop=3), strict=True))
    assert all(same(a, b) for a, b in zip(first, drawn(data, stop=3), strict=True))
    case = read_cases(kept.datasets, "training")[0]
    path = CaseFolder(tmp_path / "cache", kept).path(case)
    assert path in files
    assert CaseFolder(tmp_path / "cache", replace(kept, labels="instances")).path(case) not in files
    path.write_bytes(path.read_bytes()[:100])
    assert all(same(a, b) for a, b in zip(first, drawn(kept, stop=3), strict=True)), "a damaged one is made anew"


@pytest.mark.parametrize("names", ["[" * 100_000, "[3]", "3", "{}"])
def test_a_prepared_volume_whose_names_are_damaged_is_made_anew(data, tmp_path, names):
    (case, *_) = read_cases(data.datasets, "training")
    prepared = CaseFolder(tmp_path, data)
    arrays = {name: np.zeros((2, 2, 2)) for name in ("image", "numbers", "matrix")}
    save_file(arrays, prepared.path(case), metadata={"names": names})
    assert prepared.read(case) is None


def test_of_a_prepared_volume_only_the_slices_that_are_looked_at_are_read(data, tmp_path):
    (case, *_) = read_cases(data.datasets, "training")
    image = Volume(np.ones((64, 512, 256), np.float32), UPRIGHT)  # 32 MB, and as much for the numbers
    numbers = np.zeros(image.shape, np.int32)
    numbers[10:20, 100:200, 50:90] = 1
    prepared = CaseFolder(tmp_path, data)
    made = TrainingVolume.of(image, ObjectMap(numbers, ("1",)))
    prepared.write(case, made)
    assert len(prepared.read(case).objects) == 1
    before = psutil.Process().memory_info().rss
    kept = prepared.read(case)
    assert kept.image.voxels[12].sum() == 512 * 256
    assert (kept.objects.numbers[12] == 1).sum() == 100 * 40
    assert psutil.Process().memory_info().rss - before < image.voxels.nbytes // 2
    for one, other in zip(kept.areas, made.areas, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_cache_folder_that_cannot_be_used_is_only_warned_about(data, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert len(drawn(replace(data, cache_folder=str(tmp_path / "file")), stop=1)) == 1
    assert "cannot be kept" in caplog.text


SHAPES = ("flip", "rotate", "elastic")
INTENSITIES = ("contrast", "noise", "smoothing", "histogram_shift", "sharpening")


@pytest.fixture
def clip():
    images, masks = torch.zeros(3, 64, 64), torch.zeros(2, 3, 64, 64, dtype=torch.bool)
    masks[0, :, 8:20, 10:34] = True
    masks[1, :2, 40:50, 12:18] = True
    images += 0.1 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    images[masks.any(dim=0)] += 0.7
    return images, masks


@pytest.mark.parametrize("name", SHAPES)
def test_what_moves_the_image_moves_the_masks_with_it_on_all_slices(clip, name):
    change = Augmentation(replace(PLAIN, **{name: 1.0}))
    images, masks = change(*clip, np.random.default_rng(3))
    again = change(*clip, np.random.default_rng(3))
    assert torch.equal(images, again[0])
    assert torch.equal(masks, again[1])
    assert not torch.equal(masks, clip[1])
    bright = images[0] > 0.45
    overlap = (bright & masks[:, 0].any(dim=0)).sum() / (bright | masks[:, 0].any(dim=0)).sum()
    assert overlap > 0.9
    assert torch.equal(masks[0, 0], masks[0, 2]), "one draw for all slices"
    assert not masks[1, 2].any()


@pytest.mark.parametrize("name", INTENSITIES)
def test_what_changes_intensities_leaves_the_masks_and_the_range(clip, name):
    images, masks = Augmentation(replace(PLAIN, **{name: 1.0}))(*clip, np.random.default_rng(3))
    assert torch.equal(masks, clip[1])
    assert not torch.equal(images, clip[0])
    assert images.min() >= 0
    assert images.max() <= 1


def test_no_augmentation_changes_nothing(clip):
    images, masks = Augmentation(PLAIN)(*clip, np.random.default_rng(3))
    assert torch.equal(images, clip[0])
    assert torch.equal(masks, clip[1])
