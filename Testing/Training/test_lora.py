"""Low-rank adapters: what they are, what they cost, and that they can be folded in and taken out."""

from dataclasses import replace

import pytest
import torch

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.model import PRESETS, SAM2
from NeuroSAM2Core.model.lora import ADAPTER, LoraConfig, adapt, merge_lora
from Testing.Support.reference import shapes_of
from Testing.Support.weights import lively_state

LORA = LoraConfig(rank=4, alpha=6.0, projections=("q", "k", "v", "proj"))


def lively_model():
    model = SAM2(replace(PRESETS["nano"], image_size=64))
    model.load_state_dict(lively_state(shapes_of(model)))
    return model.eval()


@pytest.fixture
def adapted():
    """Adapters that say something."""
    model = lively_model()
    adapt(model.image_encoder.trunk, LORA)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def coarse(model):
    with torch.no_grad():
        return model.encode_image(torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64)).coarse


def test_a_model_is_the_same_right_after_it_was_adapted():
    before = coarse(lively_model())
    model = lively_model()
    adapt(model.image_encoder.trunk, LORA)
    torch.testing.assert_close(coarse(model), before, atol=0, rtol=0)


def test_folded_in_adapters_give_the_same_features(adapted):
    plain = SAM2(adapted.config)
    plain.load_state_dict(merge_lora(adapted.state_dict(), alpha=LORA.alpha), strict=True)
    assert (coarse(adapted) - coarse(lively_model())).abs().max() > 0.1, "the adapters matter"
    torch.testing.assert_close(coarse(plain.eval()), coarse(adapted), atol=2e-4, rtol=1e-4)


def test_tiny_gains_as_many_weights_as_in_neurosam2d():
    with torch.device("meta"):
        model = SAM2(PRESETS["sam2.1_hiera_t"])
        adapt(model.image_encoder.trunk, LoraConfig(rank=32))
    adapters = [p for name, p in model.named_parameters() if ADAPTER.match(name)]
    assert len(adapters) == 72
    assert sum(p.numel() for p in adapters) == 860_160


def test_only_adapters_of_the_trunk_are_trained(adapted):
    trained = {name for name, p in adapted.image_encoder.trunk.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    adapted.encode_image(images).coarse.square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for name, p in adapted.named_parameters() if "lora_" in name)


def test_dropout_acts_only_while_training():
    model = lively_model()
    adapt(model.image_encoder.trunk, replace(LORA, dropout=0.5))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.1)
    assert torch.equal(coarse(model), coarse(model))
    model.train()
    assert not torch.equal(coarse(model), coarse(model))


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"rank": -1}, "rank"),
        ({"alpha": 0.0}, "alpha"),
        ({"dropout": 1.0}, "dropout"),
        ({"rank": 1, "projections": ()}, "some of"),
        ({"rank": 1, "projections": ("q", "q")}, "each once"),
    ],
)
def test_adapters_that_make_no_sense_are_refused(values, word):
    with pytest.raises(ConfigError, match=word):
        LoraConfig(**values)
