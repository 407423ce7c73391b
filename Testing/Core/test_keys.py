"""Our models have exactly the keys and shapes of the published files."""

import hashlib
from pathlib import Path

import pytest
import torch

from NeuroSAM2Core.model import PRESETS, SAM2

KEYS = Path(__file__).parents[1] / "Data" / "sam2_keys"
FINGERPRINTS = {
    "sam2_hiera_t": "de75e046c8b9f66d",
    "sam2_hiera_s": "fcc81931cb3b2fe8",
    "sam2_hiera_b+": "91379cffb62e3164",
    "sam2_hiera_l": "2ef10147977a6d49",
    "sam2.1_hiera_t": "93d59b123936d757",
    "sam2.1_hiera_t512": "93d59b123936d757",
    "sam2.1_hiera_s": "76dff15ffd48624f",
    "sam2.1_hiera_b+": "370a65548406837e",
    "sam2.1_hiera_l": "06ea66270c1c2e2d",
}


def published(name: str) -> dict[str, str]:
    rows = [line.split("\t") for line in (KEYS / f"{name}.txt").read_text(encoding="utf-8").splitlines() if line]
    return {row[0]: row[1] for row in rows}


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_keys_and_shapes_are_those_of_the_published_file(name):
    with torch.device("meta"):
        model = SAM2(PRESETS[name])
    ours = {key: str(tuple(value.shape)) for key, value in model.state_dict().items()}
    assert ours == published(name)
    joined = "".join(sorted(key + shape for key, shape in ours.items()))
    assert hashlib.sha256(joined.encode()).hexdigest()[:16] == FINGERPRINTS[name]


def test_the_same_weights_serve_every_image_size():
    model = SAM2(PRESETS["nano"]).eval()
    before = {key: value.shape for key, value in model.state_dict().items()}
    for size in (64, 128, 160):
        model.set_image_size(size)
        with torch.inference_mode():
            assert model.encode_image(torch.zeros(1, 3, size, size)).coarse.shape[-1] == size // 16
    assert {key: value.shape for key, value in model.state_dict().items()} == before
