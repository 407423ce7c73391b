"""The look at a dataset before a run: every bad case with its reason, and pictures."""

import json

import numpy as np
import pytest

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.training.config.data import DataConfig, SamplingConfig
from NeuroSAM2Core.training.data import fine_tuning_batches
from NeuroSAM2Core.training.data.check import check_datasets, num_cases
from NeuroSAM2Core.training.step.overlay import draw_clips
from NeuroSAM2Core.volume import Volume
from Testing.Support.cases import two_balls, write_dataset

SAMPLING = SamplingConfig(slices=4)


def spoilt(folder, spoil):
    """A dataset with one good case and one that was changed."""
    path = write_dataset(folder, training=2, validation=0)
    image, label = spoil(*two_balls(seed=1))
    image.write(folder / "image1.nii.gz", overwrite=True)
    label.write(folder / "label1.nii.gz", overwrite=True)
    return DataConfig(datasets=(str(path),), min_voxels=20)


THIN = (np.arange(36) == 10) & (np.arange(40)[:, None] < 24)
"""Pixels of a slice: a line through the object with value 1."""


def first_voxels(label, count):
    """Where the first so many voxels of the object with value 1 are."""
    places = np.flatnonzero(label.voxels == 1)[:count]
    return np.isin(np.arange(label.voxels.size), places).reshape(label.shape)


ERRORS = {
    "shape": (lambda image, label: (image, Volume(label.voxels[1:], label.ijk_to_ras)), "has shape"),
    "affine": (
        lambda image, label: (image, Volume(label.voxels, label.ijk_to_ras + np.diag([0.05, 0, 0, 0]))),
        "not on the grid",
    ),
    "empty": (
        lambda image, label: (image, label.with_voxels(0 * label.voxels)),
        "the label is empty: it has no voxel above 0",
    ),
    "fractions": (lambda image, label: (image, label.with_voxels(label.voxels * 0.3)), "not whole numbers"),
    "tiny": (
        lambda image, label: (image, label.with_voxels(label.voxels * first_voxels(label, 5))),
        "the largest object has 5 voxels; expected at least 20",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_case_that_cannot_be_used_is_an_error_with_its_reason(tmp_path, name):
    spoil, reason = ERRORS[name]
    report = check_datasets(spoilt(tmp_path, spoil), SAMPLING)
    (finding,) = report.issues
    assert (finding.severity, finding.split, finding.case) == ("error", "training", "image1")
    assert reason in finding.reason
    assert report.is_usable, "the other case is good"
    assert report.num_bad == 1
    assert reason in report.as_text()


WARNINGS = {
    "nan": (
        lambda image, label: (image.with_voxels(np.where(label.voxels == 2, np.nan, image.voxels)), label),
        "is not a number",
    ),
    "padded": (
        lambda image, label: (image.with_voxels(np.where(np.arange(36) < 8, -32768, image.voxels)), label),
        "is at -32768, far below the rest, and is taken for padding",
    ),
    "constant": (lambda image, label: (image.with_voxels(0 * image.voxels + 7), label), "the same everywhere"),
    "clipped": (
        lambda image, label: (image.with_voxels(np.minimum(image.voxels, 90)), label),
        "at its largest value",
    ),
    "thin": (
        lambda image, label: (image, label.with_voxels(label.voxels * THIN)),
        "object 1 never has 12 pixels on a slice along k",
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_what_a_person_may_want_to_know_is_a_warning(tmp_path, name):
    spoil, reason = WARNINGS[name]
    report = check_datasets(spoilt(tmp_path, spoil), SAMPLING)
    assert [f.severity for f in report.issues] == ["warning"]
    assert reason in report.issues[0].reason
    assert report.num_bad == 0


def test_all_that_is_wrong_is_reported_at_once(tmp_path):
    path = write_dataset(tmp_path, training=3, validation=1)
    (tmp_path / "image0.nii.gz").unlink()
    (tmp_path / "label1.nii.gz").write_bytes(b"not a volume")
    (tmp_path / "image3.nii.gz").write_bytes((tmp_path / "image3.nii.gz").read_bytes()[:300])
    seen = []
    data = DataConfig(datasets=(str(path),))
    report = check_datasets(data, SAMPLING, on_case=lambda: seen.append(1))
    assert len(seen) == num_cases(data) == 4
    assert [(f.split, f.case) for f in report.issues] == [
        ("training", "image0"),
        ("training", "image1"),
        ("validation", "image3"),
    ]
    text = report.as_text()
    assert "training: 3 cases, 2 objects; validation: 1 case, 0 objects" in text
    assert "3 cannot be used" in text
    assert "there is no file" in text


def test_a_dataset_without_a_usable_training_case_is_not_usable(tmp_path):
    path = write_dataset(tmp_path, training=1)
    assert check_datasets(DataConfig(datasets=(str(path),)), SAMPLING).is_usable
    (tmp_path / "image0.nii.gz").unlink()
    assert not check_datasets(DataConfig(datasets=(str(path),)), SAMPLING).is_usable


def test_short_volumes_missing_classes_and_shared_images_are_notified(tmp_path):
    path = write_dataset(tmp_path, training=1, validation=0)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["validation"] = content["training"]
    path.write_text(json.dumps(content), encoding="utf-8")
    data = DataConfig(datasets=(str(path),), classes=(1, 9))
    reasons = [f.reason for f in check_datasets(data, SamplingConfig(slices=20)).issues]
    assert "the label has none of the values 9" in reasons
    assert any("12 slices along k; clips of 20 are filled up" in reason for reason in reasons)
    assert any("the same image is in the list 'training'" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("validation", "sentence"),
    [
        (0, "no case is held out: no proof will be possible; add two"),
        (1, "1 case held out for the proof: too few for an interval"),
        (3, "nothing is wrong"),
    ],
)
def test_good_cases_say_whether_a_proof_will_be_possible(tmp_path, validation, sentence):
    path = write_dataset(tmp_path, training=1, validation=validation)
    report = check_datasets(DataConfig(datasets=(str(path),)), SAMPLING)
    assert report.issues == ()
    assert sentence in report.as_text()


def test_a_held_out_case_that_cannot_be_used_is_none(tmp_path):
    path = write_dataset(tmp_path, training=1, validation=1)
    (tmp_path / "label1.nii.gz").unlink()
    text = check_datasets(DataConfig(datasets=(str(path),)), SAMPLING).as_text()
    assert "no proof will be possible" in text
    assert "1 cannot be used" in text


def path_of_a_file(folder):
    (folder / "file").write_text("in the way", encoding="utf-8")
    return folder / "file"


def test_clips_are_drawn_with_their_objects_and_prompts(tmp_path):
    data = DataConfig(datasets=(str(write_dataset(tmp_path)),))
    sampling = SamplingConfig(clips=2, slices=3)
    batches = list(fine_tuning_batches(data, sampling, image_size=64, seed=0, numbers=range(2)))
    drawn = draw_clips(tmp_path / "clips", batches)
    assert drawn == sorted((tmp_path / "clips").iterdir())
    assert len(drawn) == sum(len(batch.images) for batch in batches)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    drawn[-1].write_bytes(b"mine")
    drawn[0].unlink()
    with pytest.raises(DataError, match="is there already"):
        draw_clips(tmp_path / "clips", batches)
    assert not drawn[0].exists()
    assert drawn[-1].read_bytes() == b"mine"
    draw_clips(tmp_path / "clips", batches, overwrite=True)
    assert drawn[-1].read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DataError, match="cannot write"):
        draw_clips(path_of_a_file(tmp_path), batches)
    with pytest.raises(DataError, match="no clip"):
        draw_clips(tmp_path / "clips", [])


def same_image(volume, kind):
    """A copy that only looks different: another type, order of voxels, scaling."""
    if kind == "turned":
        return Volume(np.ascontiguousarray(volume.voxels[:, ::-1, ::-1]), turned(volume))
    if kind == "transposed":
        return Volume(np.ascontiguousarray(volume.voxels.transpose(1, 0, 2)), volume.ijk_to_ras[:, [0, 2, 1, 3]])
    return volume.with_voxels(volume.voxels.astype(np.float32))


def turned(volume):
    """The matrix of a volume whose i and j run the other way."""
    _, height, width = volume.shape
    back = np.diag([-1.0, -1, 1, 1])
    back[:2, 3] = width - 1, height - 1
    return volume.ijk_to_ras @ back


@pytest.mark.parametrize("kind", ["turned", "transposed", "of another type"])
def test_an_image_in_two_lists_is_found_by_its_voxels(tmp_path, kind):
    path = write_dataset(tmp_path, training=2, validation=1)
    for name in ("image", "label"):
        same_image(Volume.read(tmp_path / f"{name}1.nii.gz"), kind).write(tmp_path / f"{name}2.nii.gz", overwrite=True)
    data = DataConfig(datasets=(str(path),))
    (finding,) = check_datasets(data, SAMPLING).issues
    assert (finding.split, finding.case) == ("validation", "image2")
    assert "the same image is in the list 'training' as image1" in finding.reason


def test_cases_of_one_name_in_two_datasets_are_counted_apart(tmp_path):
    paths = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        paths.append(str(write_dataset(tmp_path / place, training=1, validation=0)))
        (tmp_path / place / "image0.nii.gz").unlink()
    report = check_datasets(DataConfig(datasets=tuple(paths)), SAMPLING)
    assert (report.num_bad, report.is_usable) == (2, False)
    assert [f.case for f in report.issues] == ["a/image0", "b/image0"]
