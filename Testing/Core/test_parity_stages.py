"""Every stage of the model against the reference package, on identical weights."""

from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

import pytest
import torch

from NeuroSAM2Core.model import PRESETS, SAM2, PointerMemory, Points, SpatialMemory
from NeuroSAM2Core.model.layers import sine_grid
from Testing.Support.reference import reference_model, shapes_of
from Testing.Support.weights import lively_state

SIZES = ["t", "s", "b+", "l"]
NAMES = [f"sam2.1_hiera_{size}" for size in SIZES] + [f"sam2_hiera_{size}" for size in SIZES]
DYNAMIC = (
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=true",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta=0.05",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh=0.98",
)
TINY = ["sam2.1_hiera_t", "sam2_hiera_t"]


@lru_cache(maxsize=2)  # the large ones take a gigabyte each
def our_model(name: str, image_size: int, object_score_bias: float = 3.0) -> SAM2:
    model = SAM2(replace(PRESETS[name], image_size=image_size))
    model.load_state_dict(lively_state(shapes_of(model), object_score_bias=object_score_bias), strict=True)
    return model.eval()


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_close(ours: torch.Tensor, theirs: torch.Tensor, atol: float) -> None:
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=1e-4)


@pytest.mark.parametrize("image_size", [128, 192])  # the faster one to change: the weights stay
@pytest.mark.parametrize("name", NAMES)
def test_image_features_equal_the_reference(name, image_size):
    images = noise(2, 3, image_size, image_size)
    theirs = reference_model(name, image_size).forward_image(images)
    ours = our_model(name, image_size).encode_image(images)
    assert_close(ours.stride4, theirs["backbone_fpn"][0], 2e-4)
    assert_close(ours.stride8, theirs["backbone_fpn"][1], 2e-4)
    assert_close(ours.coarse, theirs["backbone_fpn"][2], 2e-4)
    assert ours.coarse.std() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_trunk_stages_equal_the_reference(name):
    images = noise(1, 3, 224, 224)
    theirs = reference_model(name, 224).image_encoder.trunk(images)
    ours = our_model(name, 224).image_encoder.trunk(images)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b, 1e-4)


def test_memory_position_encoding_equals_the_reference():
    theirs = reference_model(TINY[0], 128).memory_encoder.position_encoding(noise(1, 64, 8, 8))
    assert_close(sine_grid(64, 8, 8, torch.device("cpu")), theirs, 1e-6)


@pytest.mark.parametrize("name", TINY)
def test_prompt_tokens_and_grids_equal_the_reference(name):
    theirs, ours = reference_model(name, 128).sam_prompt_encoder, our_model(name, 128).sam_prompt_encoder
    coords, labels = (
        128 * torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(1)),
        torch.tensor([[-1, 0, 1, 2, 3]] * 2),
    )
    mask = 5 * noise(2, 1, 32, 32)
    sparse, dense = theirs(points=(coords, labels.int()), boxes=None, masks=mask)
    fine = noise(2, 64, 16, 16), noise(2, 32, 32, 32)
    assert_close(ours.tokens(Points(coords, labels.float()), *fine), sparse, 5e-5)
    assert_close(ours.grid(mask, None, 2), dense, 5e-5)
    assert_close(ours.grid_position(), theirs.get_dense_pe(), 1e-5)
    _, empty = theirs(points=(coords, labels.int()), boxes=None, masks=None)
    assert_close(ours.grid(None, None, 2), empty, 1e-6)
    odd = 5 * noise(2, 1, 128, 128)
    resized = torch.nn.functional.interpolate(odd, size=(32, 32), mode="bilinear", antialias=True)
    assert_close(ours.grid(odd, None, 2), theirs(points=None, boxes=None, masks=resized)[1], 5e-5)


def heads(name, *, object_score_bias=3.0, multimask, clicks, mask=None, dynamic=False):
    """The reference's heads and ours on the same features and prompts; `dynamic` None: the fallback in the reference only."""
    reference = reference_model(
        name, 128, object_score_bias=object_score_bias, overrides=() if dynamic is False else DYNAMIC
    )
    model = our_model(name, 128, object_score_bias)
    features = model.encode_image(noise(2, 3, 128, 128, seed=2))
    coarse = noise(2, 256, 8, 8, seed=3)
    coords = 128 * torch.rand(2, max(clicks, 1), 2, generator=torch.Generator().manual_seed(4))
    labels = torch.ones(2, clicks) if clicks else -torch.ones(2, 1)
    theirs = reference._forward_sam_heads(
        backbone_features=coarse,
        point_inputs={"point_coords": coords, "point_labels": labels.int()} if clicks else None,
        mask_inputs=mask,
        high_res_features=[features.stride4, features.stride8],
        multimask_output=multimask,
    )
    ours = model.decode(
        coarse,
        features,
        points=Points(coords, labels) if clicks else None,
        mask_logits=mask,
        multimask=multimask,
        stability_fallback=bool(dynamic),
    )
    return ours, theirs


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(("multimask", "clicks"), [(True, 1), (False, 3), (True, 0)])
@pytest.mark.parametrize("with_mask", [False, True])
def test_decoded_masks_equal_the_reference(name, multimask, clicks, with_mask):
    mask = 5 * noise(2, 1, 32, 32, seed=5) if with_mask else None
    ours, (low_all, _, ious, low, _, pointer, object_score) = heads(name, multimask=multimask, clicks=clicks, mask=mask)
    assert_close(ours.all_logits, low_all, 2e-4)
    assert_close(ours.all_ious, ious, 1e-5)
    assert_close(ours.logits, low, 2e-4)
    assert_close(ours.pointer, pointer, 5e-5)
    assert_close(ours.object_score_logits, object_score, 1e-5)
    assert (ours.logits > 0).any()


def test_an_absent_object_has_the_references_logits_and_pointer():
    ours, (_, _, _, low, _, pointer, object_score) = heads(TINY[0], object_score_bias=-3.0, multimask=True, clicks=1)
    assert (ours.logits == -1024).all()
    assert_close(ours.logits, low, 0)
    assert_close(ours.pointer, pointer, 5e-5)
    assert_close(ours.object_score_logits, object_score, 1e-5)


@contextmanager
def faint_single_masks(name):
    """Logits of the single mask so near to 0 that it is not stable, in the reference and in ours."""
    models = [reference_model(name, 128, object_score_bias=3.0, overrides=DYNAMIC), our_model(name, 128, 3.0)]
    layer = "sam_mask_decoder.output_hypernetworks_mlps.0.layers.2"
    parameters = [model.get_parameter(f"{layer}.{kind}") for model in models for kind in ("weight", "bias")]
    kept = [parameter.clone() for parameter in parameters]
    for parameter in parameters:
        parameter.mul_(0.005)
    yield
    for parameter, before in zip(parameters, kept, strict=True):
        parameter.copy_(before)


@pytest.mark.parametrize("name", TINY)
def test_the_stability_fallback_equals_the_reference(name):
    with faint_single_masks(name):
        ours, (low_all, _, ious, _, _, pointer, _) = heads(name, multimask=False, clicks=2, dynamic=True)
        plain, _ = heads(name, multimask=False, clicks=2, dynamic=None)
    assert not torch.equal(ours.all_logits, plain.all_logits), "the fallback was not exercised"
    assert_close(ours.all_logits, low_all, 2e-4)
    assert_close(ours.all_ious, ious, 1e-5)
    assert_close(ours.pointer, pointer, 5e-5)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("is_empty", [False, True])
def test_an_adopted_mask_equals_the_reference(name, is_empty):
    reference, model = reference_model(name, 128), our_model(name, 128)
    features = model.encode_image(noise(1, 3, 128, 128))
    mask = torch.zeros(1, 1, 128, 128, dtype=torch.bool)
    if not is_empty:
        mask[..., 30:70, 40:90] = True
    _, _, ious, low, _, pointer, object_score = reference._use_mask_as_output(
        features.coarse, [features.stride4, features.stride8], mask.float()
    )
    ours = model.use_mask_as_output(features, mask)
    assert_close(ours.logits, low, 2e-4)
    assert_close(ours.pointer, pointer, 5e-5)
    assert_close(ours.object_score_logits, object_score, 1e-5)
    assert_close(ours.iou, ious, 1e-5)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("binarize", [False, True])
@pytest.mark.parametrize("object_score", [2.0, -2.0])
def test_written_memory_equals_the_reference(name, binarize, object_score):
    overrides = ("++model.binarize_mask_from_pts_for_mem_enc=true",) if binarize else ()
    reference, model = reference_model(name, 128, overrides=overrides), our_model(name, 128)
    features = model.encode_image(noise(1, 3, 128, 128))
    high = 6 * noise(1, 1, 128, 128, seed=6)
    score = torch.full((1, 1), object_score)
    theirs, position = reference._encode_new_memory(
        [features.coarse.flatten(2).permute(2, 0, 1)], [(8, 8)], high, score, is_mask_from_pts=True
    )
    assert_close(model.write_memory(features, high, score, binarize=binarize), theirs, 2e-4)
    assert_close(sine_grid(64, 8, 8, torch.device("cpu")), position[0], 1e-6)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("num_slices", [1, 7, 9])
@pytest.mark.parametrize("num_pointers", [0, 1, 16, 17])
def test_memory_attention_equals_the_reference(name, num_slices, num_pointers):
    reference, model = reference_model(name, 128), our_model(name, 128)
    coarse = noise(2, 256, 8, 8)
    slices = [SpatialMemory(noise(2, 64, 8, 8, seed=10 + i), slot=min(i, 6)) for i in range(num_slices)]
    pointers = [PointerMemory(noise(2, 256, seed=50 + i), offset=i / 15) for i in range(num_pointers)]
    position = sine_grid(64, 8, 8, torch.device("cpu")).flatten(2).permute(2, 0, 1)
    tokens = [m.features.flatten(2).permute(2, 0, 1) for m in slices]
    places = [position + reference.maskmem_tpos_enc[m.slot - 1 if m.slot else 6] for m in slices]
    if pointers:
        bare, placed = model._pointer_tokens(pointers)
        tokens.append(bare.transpose(0, 1))
        places.append((placed - bare).transpose(0, 1))
    theirs = reference.memory_attention(
        curr=[coarse.flatten(2).permute(2, 0, 1)],
        curr_pos=[sine_grid(256, 8, 8, torch.device("cpu")).flatten(2).permute(2, 0, 1)],
        memory=torch.cat(tokens),
        memory_pos=torch.cat([p.expand(-1, 2, -1) for p in places]),
        num_obj_ptr_tokens=4 * num_pointers,
    )
    ours = model.read_memory(coarse, slices, pointers)
    assert_close(ours.flatten(2).permute(2, 0, 1), theirs, 1e-4)


def test_layer_norms_have_the_references_epsilon():
    def epsilons(model: torch.nn.Module) -> dict[str, float]:
        return {name: m.eps for name, m in model.named_modules() if hasattr(m, "eps")}

    ours, theirs = epsilons(our_model(TINY[0], 128)), epsilons(reference_model(TINY[0], 128))
    assert ours == theirs
