"""What an object looks like is learned from confirmed slices and keeps propagation to it; it never adds, and a person has the last word."""

from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
import torch

from NeuroSAM2Core import EngineOptions, Session, Volume, load_model
from NeuroSAM2Core.catalog import catalog
from NeuroSAM2Core.checkpoint import Checkpoint, Provenance
from NeuroSAM2Core.inference.prediction.appearance import fit_appearance_model
from NeuroSAM2Core.measures.agreement import dice
from NeuroSAM2Core.model import PRESETS, ImageFeatures, MaskPrediction, SAM2Config
from Testing.Support.models import small_model
from Testing.Support.volumes import noise_volume

SIDE = 32
BOX = (10, 12, 40, 44)


def scene(seed, shift=(0, 0)):
    """A disc that differs from what is around it in one of eight noisy features, and its mask as logits."""
    random = torch.Generator().manual_seed(seed)
    rows, cols = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    disc = (rows - 12 - shift[0]) ** 2 + (cols - 14 - shift[1]) ** 2 < 36
    fine = 0.3 * torch.randn(1, 8, SIDE, SIDE, generator=random)
    fine[0, 3] += 2.0 * disc
    middle = 0.3 * torch.randn(1, 16, SIDE // 2, SIDE // 2, generator=random)
    coarse = torch.zeros(1, 32, SIDE // 4, SIDE // 4)
    return ImageFeatures(coarse, middle, fine), torch.where(disc, 5.0, -5.0)[None, None]


def answer_of(logits, object_score=3.0):
    one = torch.tensor([[object_score]])
    pointer = torch.zeros(1, 32)
    return MaskPrediction(logits, torch.ones(1, 1), pointer, one, logits, torch.ones(1, 1), pointer[:, None])


def test_it_is_known_again_elsewhere():
    appearance = fit_appearance_model([scene(0)])
    features, truth = scene(1, shift=(6, 4))
    found = appearance.logits(features) > 0
    assert dice(found.numpy(), (truth > 0).numpy()) > 0.9


def test_a_mask_that_spread_is_carved_and_nothing_is_added():
    appearance = fit_appearance_model([scene(0), scene(2, shift=(3, 3))])
    features, truth = scene(1, shift=(6, 4))
    spread = torch.full_like(truth, -3.0)
    spread[..., 5:, :] = 2.0
    carved = appearance.suppress_background(answer_of(spread), features)
    assert not ((carved.logits > 0) & (spread <= 0)).any()
    assert dice((carved.logits > 0).numpy(), (truth > 0).numpy()) > 0.9
    assert carved.object_score_logits.item() == 3.0


def test_where_nothing_is_left_the_object_is_absent():
    appearance = fit_appearance_model([scene(0)])
    features, truth = scene(1)
    elsewhere = torch.where(truth > 0, -5.0, -4.0)
    elsewhere[..., 28:31, 2:5] = 3.0
    carved = appearance.suppress_background(answer_of(elsewhere), features)
    assert carved.object_score_logits.item() < 0
    never_there = appearance.suppress_background(answer_of(torch.full_like(truth, -3.0)), features)
    assert never_there.object_score_logits.item() == 3.0, (
        "absent by the model itself, which this function does not change"
    )


@pytest.mark.parametrize("level", [-5.0, 5.0])
def test_nothing_is_learned_from_an_empty_or_full_slice(level):
    features, truth = scene(0)
    assert fit_appearance_model([(features, torch.full_like(truth, level))]) is None
    assert fit_appearance_model([]) is None


def test_it_is_for_our_own_general_models_and_can_be_chosen():
    own, official = small_model(rasterize_prompts=True), small_model()
    assert [name for name, preset in PRESETS.items() if preset.use_appearance_model] == ["nano"]
    assert [name for name, entry in catalog().items() if entry.use_appearance_model] == ["nano"]
    assert load_model("nano", device="cpu").config.use_appearance_model
    assert EngineOptions().resolved(own.config).use_appearance_model
    assert not EngineOptions().resolved(official.config).use_appearance_model
    assert EngineOptions(use_appearance_model=True).resolved(official.config).use_appearance_model
    assert not EngineOptions.as_reference().resolved(own.config).use_appearance_model


def test_a_model_file_says_whether_it_is_for_it(tmp_path):
    for learns in (False, True):
        model, path = small_model(), tmp_path / f"{learns}.safetensors"
        Checkpoint(
            replace(model.config, use_appearance_model=learns), model.state_dict(), Provenance(name="mine")
        ).save(path)
        config = load_model(path, device="cpu").config
        assert EngineOptions().resolved(config).use_appearance_model is learns
    values = small_model(rasterize_prompts=True).config.to_dict()
    del values["use_appearance_model"]
    assert not SAM2Config.from_dict(values).use_appearance_model, "files from before say nothing: fine-tuned ones"


def test_the_first_prompted_slice_is_the_models_own_and_clicks_have_the_last_word():
    volume = noise_volume(16, 48, 56)
    firsts = []
    for learns in (False, True):
        session = Session(
            small_model(), volume, options=EngineOptions(use_appearance_model=learns, stop_after_absent=None)
        )
        firsts.append(session.add_box(1, "axial", 5, BOX).mask)
        list(session.propagate(1))
        for place, positive in (((30, 20), True), ((8, 50), False)):
            mask = session.add_point(1, "axial", 9, place, positive=positive).mask
            assert mask[place] == positive
    np.testing.assert_array_equal(*firsts)


def test_the_bundled_model_keeps_to_white_matter():
    pytest.importorskip("nilearn", reason="the MNI152 brain comes with nilearn")
    folder = resources.files("nilearn.datasets") / "data"
    t1, white = (
        Volume.read(str(folder / f"mni_icbm152_{what}_tal_nlin_sym_09a_converted.nii.gz")) for what in ("t1", "wm")
    )
    truth = white.voxels > 127
    middle, reach = 97, 12
    reached = {}
    for learns in (False, None):
        session = Session(load_model("nano"), t1, options=EngineOptions(use_appearance_model=learns))
        session.add_mask(1, "axial", middle, truth[middle])
        for _ in session.propagate(1, first=middle - reach, last=middle + reach):
            pass
        part = slice(middle - reach, middle + reach + 1)
        reached[learns] = dice(session.mask(1)[part], truth[part])
    assert reached[None] > 0.85
    assert reached[None] > reached[False]
