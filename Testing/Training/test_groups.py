"""Which weights are trained and how fast."""

import pytest
import torch

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.model import PRESETS, SAM2
from NeuroSAM2Core.model.lora import LoraConfig, adapt
from NeuroSAM2Core.training.config.step import GroupConfig, GroupsConfig, ScheduleConfig, TrunkConfig
from NeuroSAM2Core.training.trainer.parameter_groups import (
    build_optimizer,
    evaluate_frozen,
    freeze,
    learning_rates,
    parameter_groups,
    part_of,
    part_sizes,
)
from Testing.Support.training import mini_model

NO_LORA = LoraConfig()
FROZEN = GroupConfig(frozen=True)


@pytest.fixture(scope="module")
def base_plus():
    with torch.device("meta"):
        return SAM2(PRESETS["sam2.1_hiera_b+"])


def rate_of(groups, name):
    (group,) = [g for g in groups if name in g.names]
    return group.learning_rate


def test_base_plus_has_the_groups_and_rates_of_the_published_recipe(base_plus):
    groups = parameter_groups(base_plus, GroupsConfig())
    assert len(groups) == 55
    trunk = "image_encoder.trunk."
    assert rate_of(groups, f"{trunk}blocks.23.mlp.layers.0.weight") == pytest.approx(2.7e-6)
    assert rate_of(groups, f"{trunk}blocks.0.attn.qkv.bias") == pytest.approx(2.393e-7, rel=1e-3)
    assert rate_of(groups, f"{trunk}patch_embed.proj.weight") == pytest.approx(2.154e-7, rel=1e-3)
    assert rate_of(groups, f"{trunk}pos_embed") == pytest.approx(3e-6)
    assert rate_of(groups, f"{trunk}pos_embed_window") == pytest.approx(3e-6)
    assert rate_of(groups, "image_encoder.neck.convs.0.conv.weight") == pytest.approx(3e-6)
    assert rate_of(groups, "sam_mask_decoder.conv_s0.weight") == pytest.approx(5e-6)
    assert rate_of(groups, "maskmem_tpos_enc") == pytest.approx(5e-6)


def test_every_parameter_is_in_one_group(base_plus):
    names = [name for group in parameter_groups(base_plus, GroupsConfig()) for name in group.names]
    assert sorted(names) == sorted(name for name, _ in base_plus.named_parameters())


def test_weight_decay_spares_biases_and_layer_norms_but_not_those_over_channels(base_plus):
    decays = {n: g.weight_decay for g in parameter_groups(base_plus, GroupsConfig()) for n in g.names}
    assert decays["image_encoder.trunk.blocks.0.norm1.weight"] == 0
    assert decays["memory_attention.norm.weight"] == 0
    assert decays["image_encoder.trunk.blocks.0.attn.proj.bias"] == 0
    for name in (
        "memory_encoder.fuser.layers.0.norm.weight",
        "memory_encoder.fuser.layers.0.gamma",
        "sam_prompt_encoder.mask_downscaling.1.weight",
        "image_encoder.trunk.pos_embed",
        "no_mem_embed",
    ):
        assert decays[name] == 0.1, name
    assert all(decay == 0 for name, decay in decays.items() if "bias" in name)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("image_encoder.trunk.blocks.3.attn.qkv.weight", "trunk"),
        ("image_encoder.neck.convs.1.conv.bias", "neck"),
        ("sam_prompt_encoder.no_mask_embed.weight", "decoder"),
        ("sam_mask_decoder.conv_s1.weight", "decoder"),
        ("memory_attention.norm.weight", "memory"),
        ("memory_encoder.out_proj.bias", "memory"),
        ("obj_ptr_proj.layers.0.weight", "memory"),
        ("obj_ptr_tpos_proj.weight", "memory"),
        ("mask_downsample.weight", "memory"),
        ("no_obj_ptr", "memory"),
    ],
)
def test_parts_are_notified_apart_by_name(name, part):
    assert part_of(name) == part


def test_a_frozen_part_gets_no_gradient_and_no_group():
    model = mini_model()
    groups = GroupsConfig(trunk=TrunkConfig(frozen=True), memory=FROZEN)
    freeze(model, groups, NO_LORA)
    names = {name for group in parameter_groups(model, groups) for name in group.names}
    assert {part_of(name) for name in names} == {"neck", "decoder"}
    assert all(p.requires_grad == (n in names) for n, p in model.named_parameters())
    sizes = {size.part: size for size in part_sizes(model)}
    assert sizes["trunk"].trained == sizes["memory"].trained == 0
    assert sizes["neck"].trained == sizes["neck"].total > 0
    assert sum(size.total for size in sizes.values()) == sum(p.numel() for p in model.parameters())


def test_what_is_frozen_drops_nothing_out():
    model = mini_model()
    freeze(model, GroupsConfig(memory=FROZEN), NO_LORA)
    model.train()
    evaluate_frozen(model)
    assert not model.memory_attention.training
    assert model.sam_mask_decoder.training


def test_parts_have_their_own_rate_schedule_and_decay():
    groups = GroupsConfig(
        trunk=TrunkConfig(frozen=True),
        neck=FROZEN,
        decoder=GroupConfig(learning_rate=1e-3, weight_decay=0.2, schedule=ScheduleConfig(kind="constant")),
        memory=GroupConfig(learning_rate=1e-4, schedule=ScheduleConfig(kind="linear", final=0.0)),
    )
    model = mini_model()
    freeze(model, groups, NO_LORA)
    assert learning_rates(groups, 5, 10) == {"decoder": pytest.approx(1e-3), "memory": pytest.approx(5e-5)}
    found = sorted(
        (*{part_of(name) for name in group.names}, group.weight_decay, group.rate(5, 10))
        for group in parameter_groups(model, groups)
    )
    assert found == [
        ("decoder", 0.0, pytest.approx(1e-3)),
        ("decoder", 0.2, pytest.approx(1e-3)),
        ("memory", 0.0, pytest.approx(5e-5)),
        ("memory", 0.1, pytest.approx(5e-5)),
    ]


def test_adapters_learn_at_the_rate_of_their_block_in_place_of_the_trunk():
    model = mini_model()
    lora = LoraConfig(rank=2)
    groups = GroupsConfig()
    adapt(model.image_encoder.trunk, lora)
    freeze(model, groups, lora)
    found = [g for g in parameter_groups(model, groups) if any(part_of(name) == "trunk" for name in g.names)]
    assert all("lora_" in name for g in found for name in g.names)
    rates = sorted({g.learning_rate for g in found})
    assert rates == pytest.approx([3e-6 * 0.9**k for k in (4, 3, 2, 1)])
    build_optimizer(found)


def test_adapters_on_a_frozen_trunk_are_a_contradiction():
    model = mini_model()
    with pytest.raises(ConfigError, match="contradict"):
        freeze(model, GroupsConfig(trunk=TrunkConfig(frozen=True)), LoraConfig(rank=2))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: GroupConfig(learning_rate=-1), "learning rate"),
        (lambda: GroupConfig(weight_decay=-1), "decay"),
        (lambda: TrunkConfig(layer_decay=0), "layer_decay"),
        (lambda: GroupsConfig(trunk=TrunkConfig(frozen=True), neck=FROZEN, decoder=FROZEN, memory=FROZEN), "frozen"),
    ],
)
def test_groups_that_make_no_sense_are_refused(make, word):
    with pytest.raises(ConfigError, match=word):
        make()


def test_without_layer_decay_all_blocks_learn_alike():
    groups = parameter_groups(mini_model(), GroupsConfig(trunk=TrunkConfig(layer_decay=1.0)))
    trunk = [g for g in groups if any(part_of(name) == "trunk" for name in g.names)]
    assert {g.learning_rate for g in trunk} == {3e-6}
    assert len(trunk) == 2, "decayed and spared"
