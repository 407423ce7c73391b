"""Model files: ours and those of others."""

import hashlib
import json
import os
import pickle
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from NeuroSAM2Core import load_model
from NeuroSAM2Core.checkpoint import (
    Checkpoint,
    Provenance,
    catalog,
    find,
    load_checkpoint,
    read_official,
    resolve_device,
)
from NeuroSAM2Core.errors import CheckpointError, ConfigError, NeuroSAM2Error
from NeuroSAM2Core.model import PRESETS, SAM2, SAM2Config
from Testing.Support.files import lora_adapters, published_state, save_foreign

ABOUT = Provenance(name="test", licence="Apache-2.0")
TINY = "sam2.1_hiera_t"


@pytest.fixture
def nano():
    return Checkpoint(PRESETS["nano"], SAM2(PRESETS["nano"]).state_dict(), ABOUT)


def test_a_saved_model_comes_back_with_its_architecture_and_provenance(tmp_path, nano):
    nano.save(tmp_path / "a.safetensors")
    back = Checkpoint.load(tmp_path / "a.safetensors")
    assert back.config == nano.config
    assert back.provenance == ABOUT
    model = back.build_model()
    assert not model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, nano.state[key])


def test_a_setting_of_a_later_version_is_named_as_such(tmp_path, nano, monkeypatch):
    later = nano.config.to_dict() | {"memory_span": 3}
    monkeypatch.setattr(SAM2Config, "to_dict", lambda self: later)
    nano.save(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"a\.safetensors was written by a later version.*'memory_span'"):
        Checkpoint.load(tmp_path / "a.safetensors")


def test_what_a_later_version_adds_to_the_provenance_is_passed_over(tmp_path, nano):
    about = asdict(ABOUT) | {"reviewed_by": "somebody"}
    metadata = {"format_version": 1, "config": nano.config.to_dict(), "provenance": about}
    save_file(nano.state, tmp_path / "a.safetensors", metadata={"neurosam2": json.dumps(metadata)})
    assert Checkpoint.load(tmp_path / "a.safetensors").provenance == ABOUT


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_what_happens_to_a_file_later_changes_nothing(tmp_path, suffix):
    path = tmp_path / f"tiny{suffix}"
    checkpoint = Checkpoint(PRESETS[TINY], published_state(TINY), ABOUT)
    if suffix == ".pt":
        save_foreign({"model": checkpoint.state}, path)
    else:
        checkpoint.save(path)
    read = load_checkpoint(path, hashed=True)
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    maps = Path("/proc/self/maps")
    assert not maps.exists() or os.fsencode(path) not in maps.read_bytes()
    with path.open("rb+") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\0" * 100_000)
        file.truncate()
    path.unlink()
    for key, value in read.build_model().state_dict().items():
        assert torch.equal(value, checkpoint.state[key])


def test_a_model_stored_as_float16_takes_half_the_room_and_is_read_as_float32(tmp_path, nano):
    nano.save(tmp_path / "full.safetensors")
    nano.save(tmp_path / "half.safetensors", half=True)
    full, half = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("full", "half"))
    assert half < 0.53 * full
    back = Checkpoint.load(tmp_path / "half.safetensors")
    for key, value in back.build_model().state_dict().items():
        assert value.dtype == back.state[key].dtype == torch.float32
        assert torch.equal(value, nano.state[key].half().float())


def test_weights_that_float16_cannot_hold_are_refused(tmp_path, nano):
    nano.state["no_mem_embed"] = torch.full_like(nano.state["no_mem_embed"], 1e6)
    with pytest.raises(CheckpointError, match="no_mem_embed has values that float16 cannot hold"):
        nano.save(tmp_path / "half.safetensors", half=True)
    assert not list(tmp_path.iterdir())


def test_a_file_loads_by_path(tmp_path, nano):
    nano.save(tmp_path / "a.safetensors")
    assert load_model(tmp_path / "a.safetensors", device="cpu", image_size=128).config.image_size == 128


def test_a_full_disk_leaves_the_old_model_whole(tmp_path, nano, monkeypatch):
    path = tmp_path / "a.safetensors"
    nano.save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        replace(nano, provenance=replace(ABOUT, name="new")).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_unusable_files_are_refused_in_a_sentence(tmp_path, nano):
    with pytest.raises(CheckpointError, match="there is no model file"):
        Checkpoint.load(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="not one of NeuroSAM2"):
        Checkpoint.load(tmp_path / "foreign.safetensors")
    nano.save(tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint.load(tmp_path / "cut.safetensors")
    newer = content.replace(b'format_version\\": 1', b'format_version\\": 9')
    assert newer != content
    (tmp_path / "newer.safetensors").write_bytes(newer)
    with pytest.raises(CheckpointError, match="has format 9"):
        Checkpoint.load(tmp_path / "newer.safetensors")


def test_weights_of_another_architecture_are_refused(nano):
    with pytest.raises(CheckpointError, match="do not fit its architecture"):
        replace(nano, config=PRESETS["sam2_hiera_t"]).build_model()


def test_an_unknown_setting_names_the_nearest_known_one():
    values = PRESETS["nano"].to_dict()
    assert SAM2Config.from_dict(values) == PRESETS["nano"]
    with pytest.raises(ConfigError, match="did you mean 'memory_width'"):
        SAM2Config.from_dict(values | {"memory_widht": 3})
    with pytest.raises(ConfigError, match="multiple of 32"):
        SAM2Config.from_dict(values | {"image_size": 100})


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_damaged_headers_never_crash(tmp_path, data):
    path = tmp_path / "small.safetensors"
    if not path.exists():
        Checkpoint(PRESETS["nano"], {"a": torch.zeros(2)}, ABOUT).save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "bad.safetensors").write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        Checkpoint.load(tmp_path / "bad.safetensors")
    except NeuroSAM2Error as error:
        assert str(error)


@pytest.mark.parametrize(
    ("file", "keys", "dtype", "wrap", "size"),
    [
        ("sam2.1_hiera_tiny.pt", TINY, torch.float32, lambda s: {"model": s}, 1024),
        ("sam2_hiera_tiny.pt", "sam2_hiera_t", torch.float32, lambda s: {"model": s}, 1024),
        (
            "MedSAM2_latest.pt",
            TINY,
            torch.float32,
            lambda s: {"model": s, "optimizer": {"state": {}}, "epoch": 3, "loss": {}},
            512,
        ),
        ("MedSAM2_pretrain.pth", "sam2_hiera_t", torch.bfloat16, lambda s: {"model": s}, 1024),
        (
            "latest_epoch.pth",
            "sam2_hiera_t",
            torch.bfloat16,
            lambda s: {"model": s, "optimizer1": {}, "best_dice": 0.5},
            1024,
        ),
        ("flat.pt", TINY, torch.float16, lambda s: s, 1024),
        ("ddp.pt", TINY, torch.float32, lambda s: {"model": {f"module.{k}": v for k, v in s.items()}}, 1024),
    ],
)
def test_files_of_others_are_recognised_and_load_strictly(tmp_path, file, keys, dtype, wrap, size):
    state = published_state(keys, dtype=dtype)
    save_foreign(wrap(state), tmp_path / file)
    checkpoint = read_official(tmp_path / file)
    assert checkpoint.config == replace(PRESETS[keys], image_size=size)
    model = checkpoint.build_model()
    for key, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[key].float())


@pytest.mark.parametrize("name", ["sam2.1_hiera_s", "sam2.1_hiera_b+", "sam2_hiera_l"])
def test_the_size_follows_from_the_tensors(tmp_path, name):
    state = {key: value.half() for key, value in published_state(name).items()}
    save_foreign({"model": state}, tmp_path / "renamed.pt")
    checkpoint = read_official(tmp_path / "renamed.pt")
    assert checkpoint.config == PRESETS[name]
    checkpoint.build_model()


def test_gamma_that_was_renamed_to_weight_is_understood(tmp_path):
    state = published_state(TINY)
    for layer in (0, 1):
        state[f"memory_encoder.fuser.layers.{layer}.weight"] = state.pop(f"memory_encoder.fuser.layers.{layer}.gamma")
    save_foreign({"model": state}, tmp_path / "a.pt")
    read_official(tmp_path / "a.pt").build_model()


def test_low_rank_adapters_are_merged_exactly(tmp_path):
    state = published_state("sam2_hiera_t")
    adapters = lora_adapters(state)
    assert (len(adapters), sum(a.numel() for a in adapters.values())) == (72, 860_160)
    save_foreign({"model": {**state, **adapters}}, tmp_path / "lora.pth")
    merged = read_official(tmp_path / "lora.pth", lora_alpha=8.0).state
    base = "image_encoder.trunk.blocks.4.attn."
    x = torch.randn(5, state[base + "qkv.weight"].shape[1], generator=torch.Generator().manual_seed(2))
    q, k, v = torch.nn.functional.linear(x, state[base + "qkv.weight"], state[base + "qkv.bias"]).chunk(3, dim=-1)
    scale = 8.0 / 32
    q = q + x @ adapters[base + "lora_A_q"] @ adapters[base + "lora_B_q"] * scale
    v = v + x @ adapters[base + "lora_A_v"] @ adapters[base + "lora_B_v"] * scale
    got = torch.nn.functional.linear(x, merged[base + "qkv.weight"], merged[base + "qkv.bias"])
    torch.testing.assert_close(got, torch.cat((q, k, v), dim=-1), atol=1e-6, rtol=1e-5)
    out = torch.nn.functional.linear(v, state[base + "proj.weight"], state[base + "proj.bias"])
    out = out + out @ adapters[base + "lora_A_proj"] @ adapters[base + "lora_B_proj"] * scale
    got = torch.nn.functional.linear(v, merged[base + "proj.weight"], merged[base + "proj.bias"])
    torch.testing.assert_close(got, out, atol=1e-6, rtol=1e-5)


class Evil:
    def __reduce__(self):
        return os.system, ("echo this must never run > /tmp/neurosam2_evil",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"image_encoder.blocks.0.attn.rel_pos_h": torch.zeros(2)}, "SAM 1"),
        ({"model": {"image_encoder.trunk.blocks.0.ls1.gamma": torch.zeros(2)}}, "EfficientTAM"),
        ({"model": {"encoder.weight": torch.zeros(2)}}, "not a SAM 2 model"),
        ({"epoch": 3}, "holds no weights"),
        ([1, 2], "holds no weights"),
        ({"model": {"image_encoder.trunk.pos_embed": torch.zeros(1, 50, 7, 7)}}, "no SAM 2 model has"),
        ({"model": Evil()}, "holds code"),
    ],
)
def test_foreign_and_unsafe_files_are_refused(tmp_path, content, words):
    save_foreign(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=words):
        read_official(tmp_path / "a.pt")


def test_damaged_official_files_are_refused(tmp_path):
    save_foreign({"model": published_state(TINY)}, tmp_path / "a.pt")
    content = (tmp_path / "a.pt").read_bytes()
    for name, bad in (
        ("cut", content[:-5000]),
        ("empty", b""),
        ("text", b"hello, not a model"),
        ("pickle", pickle.dumps([1])),
    ):
        (tmp_path / f"{name}.pt").write_bytes(bad)
        with pytest.raises(CheckpointError):
            read_official(tmp_path / f"{name}.pt")
    with pytest.raises(CheckpointError, match="there is no model file"):
        read_official(tmp_path / "none.pt")


def test_unknown_names_and_devices_say_what_is_known(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="did you mean 'nano'"):
        find("nanno")
    with pytest.raises(ConfigError, match="no device 'gpu'"):
        resolve_device("gpu")
    monkeypatch.setenv("NEUROSAM2_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match="neurosam2 download"):
        load_model("sam2_hiera_tiny")
    (tmp_path / "x.bin").write_bytes(b"1")
    with pytest.raises(CheckpointError, match="not a model file"):
        load_model(tmp_path / "x.bin")


def test_every_known_model_says_its_licence_and_where_it_is_from():
    for entry in catalog().values():
        assert entry.licence
        assert entry.bundled or entry.url.startswith("https://")
        assert not entry.sha256 or entry.sha256_source
