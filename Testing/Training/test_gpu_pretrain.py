"""The tool that trains in chunks: one chunk goes on from the parts that another left."""

import json
import subprocess
import sys
from pathlib import Path

import torch

from NeuroSAM2Core.checkpoint import Checkpoint
from Testing.Support.anatomy import small_bank

TOOL = Path(__file__).parents[2] / "tools" / "gpu_pretrain.py"
SETTINGS = ("heads=2", "steps=2", "image_size=64", "clips=1", "slices=[2,2]", "objects=2")


def chunk(run, bank, *options):
    command = [sys.executable, str(TOOL), str(run), *SETTINGS, "--bank", str(bank), "--device", "cpu", "--workers", "1"]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=300, check=False, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_chunk_leaves_its_checkpoint_in_parts_that_another_machine_goes_on_from(tmp_path):
    bank = small_bank(tmp_path / "bank")
    out = tmp_path / "out.safetensors"
    found = chunk(tmp_path / "here", bank, "--parts", str(tmp_path / "parts"), "--part-mb", "20", "--export", str(out))
    assert (found["step"], found["of"]) == (2, 2)
    parts = sorted(path.name for path in (tmp_path / "parts").iterdir())
    assert parts == ["config.toml", *(f"step-00000002.safetensors.part0{n}" for n in range(3))]
    there = chunk(tmp_path / "there", bank, "--parts", str(tmp_path / "parts"))
    assert there["step"] == 2
    name = "checkpoints/step-00000002.safetensors"
    assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    exported = Checkpoint.load(out)
    trained = Checkpoint.load(tmp_path / "here" / name)
    for key, value in trained.state.items():
        assert torch.equal(exported.state[key], value.half().float()), key
