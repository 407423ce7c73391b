"""Model files of every kind of damage and wrapping: the very weights, or a sentence; never a traceback, never memory for nothing."""

import io
import json
import pickle
import random
import struct
import sys
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from NeuroSAM2Core.checkpoint import Checkpoint, Provenance, TrainingRecord, catalog, load_checkpoint, read_official
from NeuroSAM2Core.checkpoint.official import official_model
from NeuroSAM2Core.errors import CheckpointError, ConfigError, NeuroSAM2Error
from NeuroSAM2Core.model import PRESETS, SAM2, SAM2Config
from Testing.Support.files import published_shapes, save_foreign
from Testing.Support.training import MINI

ABOUT = Provenance(name="test", licence="Apache-2.0")
TINY = "sam2.1_hiera_t"


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return Checkpoint(MINI, SAM2(MINI).state_dict(), ABOUT)


def constants():
    """The tiny model's weights, each of one number of its own, in a few bytes."""
    return {key: torch.tensor(0.25 * n).expand(shape) for n, (key, shape) in enumerate(published_shapes(TINY).items())}


def under(prefix):
    return lambda state: {prefix + key: value for key, value in state.items()}


WRAPPED = {
    "_orig_mod.": under("_orig_mod."),
    "module.": under("module."),
    "module._orig_mod.": under("module._orig_mod."),
    "_orig_mod.module.": under("_orig_mod.module."),
    "inside": lambda s: {k.replace("image_encoder.", "image_encoder._orig_mod."): v for k, v in s.items()},
    "lightning": lambda s: {"state_dict": {**under("model.")(s), "loss.weight": torch.ones(2)}, "epoch": 3},
    "sam2_model.": under("sam2_model."),
    "net.module.": lambda s: {"state_dict": under("net.module.")(s)},
    "nested": lambda s: {
        "checkpoint": {"model": {"state_dict": s}},
        "optimizer": {"state": {0: {"step": torch.ones(1)}}},
    },
    "averaged": lambda s: {**under("module.")(s), "n_averaged": torch.tensor(3)},
    "both": lambda s: {"ema": {k: v + 1 for k, v in s.items()}, "model": s},
    **{
        key: lambda s, key=key: {key: s}
        for key in ("model_state_dict", "net", "network", "ema", "model_ema", "state_dict_ema", "generator")
    },
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_wrapped_weights_are_loaded_as_the_very_weights(tmp_path, wrap):
    state = constants()
    save_foreign(wrap(state), tmp_path / "a.ckpt")
    read = load_checkpoint(tmp_path / "a.ckpt")
    assert read.state.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(read.state[key], value), key


@pytest.mark.parametrize(
    ("wrap", "words"),
    [
        (lambda s: {"net": {"encoder.weight": torch.zeros(2)}}, r"under 'net'.*'encoder.weight'"),
        (lambda s: {"a": s, "b": {k: v + 1 for k, v in s.items()}}, "several models, under 'a', 'b'"),
        (lambda s: {k: v for k, v in s.items() if k != "no_mem_embed"}, "no_mem_embed is missing"),
        (lambda s: s | {"extra.weight": torch.ones(2)}, "'extra.weight' is not one of its weights"),
        (lambda s: s | {"no_mem_embed": torch.ones(7)}, r"no_mem_embed has the shape \(7,\), expected \(1, 1, 256\)"),
        (lambda s: s | {"no_mem_embed": torch.full((1, 1, 256), torch.nan)}, "no_mem_embed that are not finite"),
        (
            lambda s: s | {"no_mem_embed": torch.full((1, 1, 256), 1e300, dtype=torch.float64)},
            "no_mem_embed that are not finite",
        ),
        (lambda s: s | {"no_mem_embed": torch.ones(1, 1, 256, dtype=torch.int64)}, "no floating-point numbers"),
        (lambda s: s | {"no_mem_embed": torch.ones(1, 1, 256).to_sparse()}, "no floating-point numbers"),
        (lambda s: s | {"module.no_mem_embed": torch.ones(1, 1, 256)}, "two weights no_mem_embed"),
        (
            lambda s: s | {"image_encoder.trunk.pos_embed": torch.zeros(()).expand(1 << 20, 96, 1 << 10, 1 << 10)},
            "image_encoder.trunk.pos_embed has the shape",
        ),
        (
            lambda s: (
                s
                | {
                    f"image_encoder.trunk.blocks.0.attn.lora_{n}_q": torch.ones(1, 1).expand(1 << 20, 1 << 20)
                    for n in "AB"
                }
            ),
            "lora_q does not fit",
        ),
    ],
)
def test_what_is_wrong_with_foreign_weights_is_named(tmp_path, wrap, words):
    save_foreign(wrap(constants()), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=words):
        read_official(tmp_path / "a.pt")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("half", [True, False])
def test_a_weight_that_is_no_number_is_named(tmp_path, small, value, half):
    key = "sam_mask_decoder.iou_token.weight"
    tensor = small.state[key].clone()
    tensor[0, 3] = value
    state = {k: v.half() if half else v for k, v in (small.state | {key: tensor}).items()}
    replace(small, state=state).save(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=rf"a\.safetensors has values in {key} that are not finite"):
        Checkpoint.load(tmp_path / "a.safetensors")


def test_large_but_finite_weights_are_numbers(tmp_path, small):
    state = small.state | {"no_mem_embed": torch.full_like(small.state["no_mem_embed"], 3e38)}
    replace(small, state=state).save(tmp_path / "a.safetensors")
    assert Checkpoint.load(tmp_path / "a.safetensors").state["no_mem_embed"].max() > 2e38


def test_what_a_run_goes_on_from_is_finite_too(tmp_path, small):
    record = TrainingRecord({"exp_avg.x": torch.tensor([1.0, torch.nan])}, {"step": 1.0})
    replace(small, training=record).save(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"values in exp_avg\.x"):
        Checkpoint.load(tmp_path / "a.safetensors", with_training=True)


TRUNK = {
    "width": [0, -8, 1 << 40, 96.0, True, None, "96", [96]],
    "num_heads": [0, -1, 3, 1 << 40, float("nan")],
    "stages": [[1 << 30, 1, 1, 1], [0, 1, 1, 1], [1, 1, 1], [-1, 2, 2, 2], 4, "1111", [1, 1, 1, 1.5], {}],
    "global_blocks": [[-1], [1 << 40], [4], 3, [[0]], None],
    "windows": [[0, 8, 8, 8], [8, 8, 8], [7, 8, 8, 8], [-8, 8, 8, 8], [1 << 40] * 4, [8, 8, 8, None]],
    "background_grid": [[0, 4], [4], [1 << 20, 1 << 20], [4, -4], 4],
}
MODEL = {
    "image_size": [0, -64, 100, 1 << 40, 64.0, None, float("nan")],
    "width": [0, -8, 36, 1 << 40, "32", 10**400],
    "memory_width": [0, 3, 2, -8, 64, None],
    "memory_layers": [0, -1, 10**6, 1.5, True],
    "memory_mlp_width": [0, 1 << 40],
    "decoder_mlp_width": [-1, 1 << 40],
    "decoder_heads": [0, 5, 32, 1 << 40],
    "mask_prompt_width": [0, 2, 6, 1 << 40],
    "num_mask_memories": [0, -1, 1 << 40],
    "max_object_pointers": [-1, 1 << 40, 1.0],
    "memory_dropout": [float("nan"), -0.1, 2, "0.1", None],
    "review_iou_threshold": [float("nan"), float("inf"), -1, 1.01, True, 10**400],
    "intensity_range": [[1, 0], [0, float("nan")], [0, float("inf")], [0], 1, [0, "1"], [0, 10**400]],
    "has_pointer_time": [1, None, "yes"],
    "rasterize_prompts": [0],
    "trunk": [None, 3, [], {}],
    "engine": [3, [1], {"crops": 2}, {"min_area_ratio": float("nan")}],
}
BROKEN = [("trunk", {key: value}) for key, values in TRUNK.items() for value in values] + [
    (key, value) for key, values in MODEL.items() for value in values
]


def broken(key, value):
    values = MINI.to_dict()
    return values | (
        {"trunk": values["trunk"] | value} if key == "trunk" and isinstance(value, dict) and value else {key: value}
    )


@pytest.mark.parametrize(("key", "value"), BROKEN, ids=lambda value: repr(value)[:40])
def test_numbers_that_no_model_has_are_refused(key, value):
    with pytest.raises(ConfigError) as caught:
        SAM2Config.from_dict(broken(key, value))
    assert len(str(caught.value)) < 400


def test_every_known_architecture_is_within_the_bounds():
    for config in PRESETS.values():
        assert SAM2Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory otherwise")
def test_a_configuration_that_promises_more_than_there_is_takes_no_memory(tmp_path, small):
    wide = replace(MINI, trunk=replace(MINI.trunk, width=1024, stages=(64, 64, 64, 64)), width=4096, memory_layers=64)
    metadata = {"format_version": 1, "config": wide.to_dict(), "provenance": {"name": "a"}}
    save_file(small.state, tmp_path / "a.safetensors", metadata={"neurosam2": json.dumps(metadata)})
    import resource  # of Linux, where it counts in KiB

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="do not fit its architecture"):
        load_checkpoint(tmp_path / "a.safetensors")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_a_file_with_more_than_its_configuration_promises_is_not_read(tmp_path, small):
    Checkpoint(MINI, SAM2(PRESETS["nano"]).state_dict(), ABOUT).save(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="do not fit its architecture"):
        Checkpoint.load(tmp_path / "a.safetensors")


def rewritten(path, target, change):
    """A copy of a safetensors file with another header."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.dumps(change(json.loads(content[8 : 8 + length]))).encode()
    target.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + length :])


HEADERS = {
    "overlap": lambda h: h | {"no_mem_embed": h["no_obj_ptr"]},
    "gap": lambda h: {k: v for k, v in h.items() if k != "no_mem_embed"},
    "shape": lambda h: h | {"no_mem_embed": h["no_mem_embed"] | {"shape": [1 << 62, 1 << 62]}},
    "dimensions": lambda h: h | {"no_mem_embed": h["no_mem_embed"] | {"shape": [1] * 99_999 + [32]}},
    "negative": lambda h: h | {"no_mem_embed": h["no_mem_embed"] | {"shape": [-1, -1, 32]}},
    "dtype": lambda h: h | {"no_mem_embed": h["no_mem_embed"] | {"dtype": "F4"}},
    "offsets": lambda h: h | {"no_mem_embed": h["no_mem_embed"] | {"data_offsets": [0.0, 128.0]}},
    "metadata": lambda h: h | {"__metadata__": [1]},
    "list": lambda h: list(h),
    "text": lambda h: h | {"no_mem_embed": "F32"},
    "about": lambda h: h | {"__metadata__": {"neurosam2": "[" * 100_000}},
    "digits": lambda h: h | {"__metadata__": {"neurosam2": '{"format_version": ' + "9" * 5000 + "}"}},
    "version": lambda h: h | {"__metadata__": {"neurosam2": '{"format_version": NaN}'}},
    "provenance": lambda h: (
        h
        | {
            "__metadata__": {
                "neurosam2": json.dumps({"format_version": 1, "config": MINI.to_dict(), "provenance": {"name": 3}})
            }
        }
    ),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_a_header_that_lies_is_refused(tmp_path, small, change):
    small.save(tmp_path / "a.safetensors")
    rewritten(tmp_path / "a.safetensors", tmp_path / "b.safetensors", change)
    with pytest.raises(CheckpointError, match=r"b\.safetensors"):
        Checkpoint.load(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    "start", [b"", b"\0" * 7, b"\xff" * 8, struct.pack("<Q", 1 << 40) + b"{}", b"\x02" + b"\0" * 7 + b"[]"]
)
def test_a_file_without_a_header_is_refused(tmp_path, start):
    (tmp_path / "a.safetensors").write_bytes(start)
    with pytest.raises(CheckpointError, match="is damaged"):
        Checkpoint.load(tmp_path / "a.safetensors")


def test_a_packed_bomb_is_not_unpacked():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(50 << 20))
    with pytest.raises(CheckpointError, match="packed in a way that PyTorch does not write"):
        official_model(content.getvalue(), "a.pt")


def test_fuzzed_model_files_end_in_a_sentence(tmp_path, small, attack_seed):
    """Bytes changed, cut and doubled in headers, configurations and pickles."""
    rng = random.Random(attack_seed)
    small.save(tmp_path / "a.safetensors")
    ours = (tmp_path / "a.safetensors").read_bytes()
    header = 8 + struct.unpack("<Q", ours[:8])[0]
    pickled = []
    for new in (True, False):
        buffer = io.BytesIO()
        torch.save({"model": {"a": torch.ones(3)}}, buffer, _use_new_zipfile_serialization=new)
        pickled.append(buffer.getvalue())
    pickled.append(pickle.dumps({"a": bytearray(3)}))
    path = tmp_path / "b.safetensors"
    for turn in range(600):
        content, end = (ours, header) if turn % 2 else ((one := pickled[turn % 3]), len(one))
        bad = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(min(end, len(bad)))
            match rng.randrange(4):
                case 0:
                    bad[place] = rng.randrange(256)
                case 1:
                    bad[place] = rng.choice(b'0123456789-.eEN"[]{}:,')
                case 2:
                    del bad[place : place + rng.randint(1, 8)]
                case 3:
                    bad[place:place] = bad[place : place + rng.randint(1, 8)]
        try:
            if turn % 2:
                path.write_bytes(bad)
                Checkpoint.load(path)
            else:
                official_model(bytes(bad), "b.pt")
        except NeuroSAM2Error as error:
            assert str(error)
            assert len(str(error)) < 2000


def test_fuzzed_configurations_end_in_a_sentence(attack_seed):
    rng = random.Random(attack_seed)
    strange = [
        0,
        -1,
        1,
        2**31,
        2**63,
        10**400,
        0.5,
        float("nan"),
        float("inf"),
        True,
        None,
        "",
        "a" * 9999,
        [],
        [0],
        {},
        {"a": 1},
    ]
    for _ in range(2000):
        values = MINI.to_dict()
        table = rng.choice([values, values["trunk"]])
        key = rng.choice([*table, "unknown"])
        table[key] = (
            rng.choice(strange) if rng.random() < 0.7 else [rng.choice(strange) for _ in range(rng.randint(1, 5))]
        )
        try:
            SAM2Config.from_dict(values)
        except ConfigError as error:
            assert len(str(error)) < 400


def test_what_is_known_of_published_files_is_stated_with_its_source():
    for entry in catalog().values():
        assert bool(entry.sha256) == bool(entry.sha256_source)
        assert entry.bundled or entry.architecture in ("", *PRESETS)
        if entry.url.startswith("https://dl.fbaipublicfiles.com/"):
            assert len(entry.sha256) == 64
            assert entry.num_bytes
