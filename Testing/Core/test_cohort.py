"""A cohort from a few annotated cases: which scans, what is carried over, what is kept, and what is to be looked at first."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from NeuroSAM2Core.cohort import (
    CaseRecord,
    CaseState,
    CohortCase,
    CohortFolder,
    CohortPlan,
    ObjectResult,
    carry,
    find_images,
    find_templates,
    review_rows,
    vote_on,
    write_review,
)
from NeuroSAM2Core.cohort.answer import DEFORMATIONS, CohortEngine, make_plan
from NeuroSAM2Core.cohort.carry import LoadedTemplate, settled
from NeuroSAM2Core.cohort.deform import deform, self_similarity, warped
from NeuroSAM2Core.cohort.plan import REGISTRATIONS
from NeuroSAM2Core.cohort.record import read_cohort
from NeuroSAM2Core.errors import Cancelled, ConfigError, DataError
from NeuroSAM2Core.labels import table_for
from NeuroSAM2Core.measures import dice
from NeuroSAM2Core.prompts import BoxPrompt, ObjectPrompts
from NeuroSAM2Core.registration import Deformation, Registration, deformed_labels
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from Testing.Support.cohorts import person, write_study

BOXED = ObjectPrompts().with_box(SlicePlane(Axis.K, 3), BoxPrompt(1, 2, 5, 6))
SAME = Registration(later_to_earlier=tuple(map(tuple, np.eye(4).tolist())), similarity_before=0.5, similarity=0.5)
PLAN = CohortPlan(templates=(), template_hashes=(), model="nano", model_hash="c")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, *write_study(folder, new=2)


@pytest.fixture(scope="module")
def engine(study):
    folder, words, _ = study
    plan = make_plan(find_templates([folder / word for word in words]), model="nano", device="cpu")
    return CohortEngine.load(plan, CohortFolder(folder / "out"))


def ball(middle, radius=6.0, shape=(20, 30, 30)):
    k, j, i = np.indices(shape)
    return (k - middle[0]) ** 2 + (j - middle[1]) ** 2 + (i - middle[2]) ** 2 < radius**2


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def test_a_vote_lies_between_two_voters_and_nearer_to_the_more_similar_one():
    left, right, between = ball((10, 15, 10)), ball((10, 15, 14)), ball((10, 15, 12))
    voted = vote_on([left, right], [1.0, 1.0], (1.0, 1.0, 1.0))
    assert dice(voted, between) > 0.85
    weighted = vote_on([left, right], [1.0, 0.4], (1.0, 1.0, 1.0))
    assert dice(weighted, left) > dice(voted, left)
    assert vote_on([left], [0.3], (1.0, 1.0, 1.0)) is left


@pytest.mark.parametrize("kind", REGISTRATIONS)
def test_objects_of_annotated_heads_lie_on_a_new_one(kind):
    templates = [LoadedTemplate(*person(seed), table=table_for([1, 2])) for seed in (0, 1)]
    image, truth = person(52, contrast=-0.6)
    vote = carry(templates, image, deform=DEFORMATIONS[kind])
    assert min(dice(vote.masks[value], truth.voxels == value) for value in (1, 2)) > 0.75
    assert all(0.5 < vote.agreements[value] <= 1 for value in (1, 2))
    assert min(vote.similarities) > 0


def bent_person():
    """A head, its organs, and both bent by up to 18 mm, in the other contrast; organs of the straight one are as far off as that."""
    image, labels = person(0)
    k, j, i = np.indices(image.shape, np.float64)
    places = (k + 3 * np.sin(j / 5), j, i + 3 * np.sin(k / 4))
    voxels, truth = (
        ndimage.map_coordinates(one, places, order=order, mode="nearest")
        for one, order in ((image.voxels.astype(np.float64), 1), (labels.voxels, 0))
    )
    return image, labels, image.with_voxels((900 - voxels).astype(np.float32)), truth


@pytest.mark.parametrize(("kind", "share"), [("deformable", 0.5), ("bspline", 0.2)])
def test_what_an_affine_map_leaves_is_bent_away_through_another_contrast(kind, share):
    image, labels, later, truth = bent_person()
    bend = DEFORMATIONS[kind](image, later, SAME, is_cancelled=lambda: False)
    found = deformed_labels(labels, later, SAME, bend)
    for value in (1, 2):
        straight = dice(labels.voxels == value, truth == value)
        assert dice(found == value, truth == value) > straight + share * (1 - straight)


def test_a_registration_that_is_not_wanted_any_more_ends():
    image, _, later, _ = bent_person()
    with pytest.raises(Cancelled):
        deform(image, later, SAME, is_cancelled=lambda: True)


def test_a_process_that_bends_heads_loads_no_compiler():
    """It would take 2.5 s of every process of a cohort."""
    program = (
        "import sys, torch; from NeuroSAM2Core.cohort.deform import Level, optimised; "
        "a = torch.zeros(12, 4, 4, 4); optimised(a, a, a[0], torch.zeros(1, 3, 4, 4, 4), Level(8.0, 2, 0.5)); "
        "assert 'torch.optim' in sys.modules; sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_self_similarity_does_not_see_contrast():
    image = torch.rand(6, 7, 8, generator=torch.Generator().manual_seed(0))
    features = self_similarity(image)
    assert features.shape == (12, 6, 7, 8)
    assert features.amax(dim=0).eq(1).all()
    torch.testing.assert_close(self_similarity(5 - 3 * image), features, atol=1e-4, rtol=1e-3)


def test_features_are_taken_from_displaced_voxels():
    features = torch.arange(60.0).view(1, 1, 3, 4, 5)
    shift = torch.zeros(1, 3, 3, 4, 5)
    shift[:, 0], shift[:, 2] = 2, 1  # along i and k
    torch.testing.assert_close(warped(features, shift)[..., :2, :, :3], features[..., 1:, :, 2:])


def test_how_unlike_two_heads_are_is_asked_in_a_box_of_another_grid():
    unlike = np.zeros((4, 5, 6), np.float32)
    unlike[1, 2, 3:5] = 0.2, 0.4
    grid_mm, field = np.diag([4.0, 4, 4, 1]), np.zeros((4, 5, 6, 3))
    finer = Volume(np.zeros((8, 10, 12)), np.diag([2.0, 2, 2, 1]))
    deformation = Deformation(field_mm=field, unlike=unlike, ijk_to_ras=grid_mm)
    box = (slice(2, 3), slice(4, 5), slice(6, 9))
    assert deformation.unlike_in(box, finer) == pytest.approx(0.3)
    assert deformation.unlike_in((slice(20, 22), *box[1:]), finer) is None
    assert replace(deformation, unlike=None).unlike_in(box, finer) is None


def test_settled_objects_lie_between_answer_and_vote_and_share_no_voxel():
    grid = Volume(np.zeros((20, 30, 30)), np.eye(4))
    left, right, far = ball((10, 15, 8)), ball((10, 15, 12)), ball((10, 15, 22), radius=4)
    labels = settled([(3, (left, right)), (5, (far, np.zeros_like(far)))], (1.0, 1.0), grid)
    assert dice(labels == 3, ball((10, 15, 10))) > 0.9
    np.testing.assert_array_equal(labels == 5, far)
    both = settled([(1, (ball((10, 15, 10)),)), (2, (ball((10, 15, 16)),))], (1.0,), grid)
    assert (both[:, :, :13] != 2).all()
    assert (both[:, :, 14:] != 1).all()
    np.testing.assert_array_equal(both > 0, ball((10, 15, 10)) | ball((10, 15, 16)))
    assert not settled([(1, (np.zeros_like(far),))], (1.0,), grid).any()


def test_annotated_cases_are_pairs_of_files_or_a_dataset_file(tmp_path):
    a, b, c, d = touch(*(tmp_path / f"{name}.nii.gz" for name in "abcd"))
    assert [(one.image, one.labels) for one in find_templates([a, b, c, d])] == [(a, b), (c, d)]
    listed = tmp_path / "dataset.json"
    listed.write_text(
        json.dumps({"training": [{"image": "a.nii.gz", "seg": "b.nii.gz"}], "test": [{"image": "c.nii.gz"}]}),
        encoding="utf-8",
    )
    assert [(one.image, one.labels) for one in find_templates([listed])] == [(a, b)]
    few, many = ([], "there are 0"), ([a, b] * 11, "there are 11")
    for wrong, said in (([a, b, c], "no labels"), ([tmp_path / "x.nii", b], "no file"), few, many):
        with pytest.raises(DataError, match=said):
            find_templates(wrong)


def test_scans_of_a_bids_dataset_keep_their_names_and_derivatives_are_left_out(tmp_path):
    anat = tmp_path / "sub-01" / "ses-1" / "anat"
    touch(anat / "sub-01_ses-1_T1w.nii.gz", anat / "sub-01_ses-1_FLAIR.nii.gz", anat / "sub-01_ses-1_dseg.nii.gz")
    touch(tmp_path / "derivatives" / "x" / "sub-01" / "anat" / "sub-01_T1w.nii.gz", tmp_path / ".git" / "a.nii")
    found = find_images([tmp_path])
    assert [(one.name, one.folder) for one in found] == [
        ("sub-01_ses-1_space-FLAIR", "sub-01/ses-1/anat"),
        ("sub-01_ses-1_space-T1w", "sub-01/ses-1/anat"),
    ]
    assert [one.name for one in find_images([tmp_path], suffix="T1w")] == ["sub-01_ses-1_space-T1w"]
    with pytest.raises(DataError, match="no image of the kind bold"):
        find_images([tmp_path], suffix="bold")


def test_scans_of_one_name_are_told_apart_and_keep_it_as_the_study_grows(tmp_path):
    touch(tmp_path / "a" / "scan 1.nii", tmp_path / "b" / "scan 1.nii", tmp_path / "b" / "scan 2.nii.gz")
    names = {one.name for one in find_images([tmp_path])}
    assert names == {"sub-ascan1", "sub-bscan1", "sub-scan2"}
    touch(tmp_path / "c" / "scan 3.nii", tmp_path / "c" / "scan-3.nii")
    more = [one.name for one in find_images([tmp_path])]
    assert names < set(more)
    assert len({name.lower() for name in more}) == 5
    listed = tmp_path / "dataset.json"
    listed.write_text(json.dumps({"test": ["b/scan 2.nii.gz"]}), encoding="utf-8")
    assert [one.name for one in find_images([listed])] == ["sub-scan2"]


def test_a_case_is_outlined_and_its_record_names_prompts_hashes_and_quality(study, engine):
    *_, images = study
    case = find_images([images])[0]
    record = engine.do(case)
    assert record.problem == ""
    truth = person(50)[1].voxels
    labels = Volume.read(engine.folder.labels_path(case))
    assert min(dice(labels.voxels == value, truth == value) for value in (1, 2)) > 0.75
    assert [one.name for one in record.objects] == ["left organ", "right organ"]
    assert all(one.prompts.boxes or one.prompts.kept for one in record.objects)
    assert all(0 < one.expected_iou <= 1 and one.volume_ml > 10 for one in record.objects)
    assert CaseRecord.from_text(record.to_text()) == record
    assert json.loads(engine.folder.record_path(case).read_text(encoding="utf-8"))["Sources"] == ["../new/scan0.nii.gz"]
    written = engine.folder.labels_path(case).stat().st_mtime_ns
    assert engine.do(case) == record
    assert engine.folder.labels_path(case).stat().st_mtime_ns == written
    engine.folder.labels_path(case).write_bytes(b"half")
    assert engine.do(case).labels_hash == record.labels_hash


@pytest.mark.parametrize(("content", "said"), [(b"no image", "NIfTI"), (None, "cannot be read")])
def test_a_case_that_fails_is_a_record_with_a_sentence(engine, tmp_path, content, said):
    path = tmp_path / "bad.nii.gz"
    if content is not None:
        path.write_bytes(content)
    case = CohortCase(name="sub-bad", image=path, folder="sub-bad/anat")
    record = engine.do(case)
    assert said in record.problem
    assert engine.folder.read(case) == record
    assert not engine.folder.is_done(case, engine.plan, record.image_hash)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"case": 3}', '{"case": "a", "image": "b", "fingerprint": "c", "objects": [1]}']
)
def test_a_damaged_record_is_none(tmp_path, text):
    case = CohortCase(name="sub-a", image=tmp_path / "a.nii", folder="sub-a/anat")
    folder = CohortFolder(tmp_path)
    touch(folder.record_path(case))
    folder.record_path(case).write_text(text, encoding="utf-8")
    assert folder.read(case) is None
    assert not folder.is_done(case, PLAN, "")


def test_a_folder_belongs_to_one_plan_and_to_one_run(tmp_path):
    folder = CohortFolder(tmp_path / "out")
    cases = (CohortCase(name="sub-a", image=tmp_path / "a.nii", folder="sub-a/anat"),)
    with folder.locked():
        folder.claim(PLAN, cases)
        with pytest.raises(ConfigError, match="another run"), CohortFolder(tmp_path / "out").locked():
            pass
    assert read_cohort(folder.path).cases == cases
    with pytest.raises(ConfigError, match="other annotated cases"):
        folder.claim(replace(PLAN, registration="bspline"), cases)
    folder.claim(replace(PLAN, registration="bspline"), cases, overwrite=True)
    (folder.path / "cohort.json").write_text(
        '{"fingerprint": "a", "cases": [{"name": "a", "image": "a", "folder": "../.."}]}', encoding="utf-8"
    )
    with pytest.raises(DataError, match="outside"):
        read_cohort(folder.path)


def result(*, iou=0.8, agreement=0.8, carried=0.9, volume=20.0, compactness=0.7, label=1):
    return ObjectResult(
        label=label,
        name=f"organ {label}",
        prompts=BOXED,
        expected_iou=iou,
        agreement=agreement,
        carried_dice=carried,
        volume_ml=volume,
        compactness=compactness,
    )


def test_the_list_begins_with_what_failed_and_what_is_unlike_the_others(tmp_path):
    kinds = {f"sub-{n}": (result(volume=20 + n / 4),) for n in range(6)}
    kinds |= {
        "sub-unsure": (result(iou=0.2),),
        "sub-large": (result(volume=80.0),),
        "sub-differ": (result(agreement=0.1),),
        "sub-departs": (result(carried=0.5),),
    }
    cases = tuple(
        CohortCase(name=name, image=tmp_path / f"{name}.nii", folder=f"{name}/anat")
        for name in (*kinds, "sub-bad", "sub-new")
    )
    folder = CohortFolder(tmp_path)
    folder.claim(PLAN, cases)
    for case in cases[:-1]:
        known = CaseRecord(case=case.name, image="", fingerprint=PLAN.fingerprint, objects=kinds.get(case.name, ()))
        folder.write(case, replace(known, problem="" if case.name in kinds else "it is no image"))
    rows = review_rows(tmp_path)
    assert rows[0].case.name == "sub-bad"
    assert rows[1].case.name == "sub-departs", "what tells most of the true overlap weighs most"
    assert {row.case.name for row in rows[2:5]} == {"sub-unsure", "sub-large", "sub-differ"}
    assert rows[0].state is CaseState.FAILED
    assert rows[-1].state is CaseState.PENDING
    said = {row.case.name: row.reason for row in rows}
    assert "the annotated cases disagree" in said["sub-differ"]
    assert "unusual" in said["sub-large"]
    assert "not sure" in said["sub-unsure"], "the reason is what is larger than usual, not what is large in every case"
    assert "departs" in said["sub-departs"]
    assert said["sub-bad"] == "it is no image"
    touch(folder.reviewed_path(cases[0]))
    accepted = [row.case.name for row in write_review(tmp_path) if row.state is CaseState.ACCEPTED]
    assert accepted == ["sub-0"]
    assert len((tmp_path / "review.csv").read_text(encoding="utf-8").splitlines()) == len(cases) + 1
    assert [one["case"] for one in json.loads((tmp_path / "review.json").read_text(encoding="utf-8"))] == [
        row.case.name for row in rows
    ]


def test_a_record_that_names_no_object_is_a_row_of_its_own(tmp_path):
    case = CohortCase(name="sub-1", image=tmp_path / "1.nii", folder="sub-1/anat")
    folder = CohortFolder(tmp_path)
    folder.claim(PLAN, (case,))
    folder.write(case, CaseRecord(case=case.name, image="", fingerprint=PLAN.fingerprint))
    (row,) = review_rows(tmp_path)
    assert (row.doubt, row.reason) == (1.0, "the record names no object")
