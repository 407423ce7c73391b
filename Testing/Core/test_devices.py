"""Devices that lack operations: the forms that are used everywhere, and the prompts of a device that cannot be used."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from NeuroSAM2Core import EngineOptions, Session
from NeuroSAM2Core.checkpoint import device_probe, load
from NeuroSAM2Core.checkpoint.device_probe import DeviceReport, examine, probed
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.machine import facts_file
from NeuroSAM2Core.training.config.step import LossConfig, PromptConfig
from NeuroSAM2Core.training.step.clip_segmenter import ClipSegmenter
from Testing.Support.models import small_model
from Testing.Support.training import disc_clip, mini_model
from Testing.Support.volumes import ball_volume
from Testing.Training.test_clip_segmenter import plan

BOX = (12, 14, 35, 41)
MISSING = ("upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "grid_sampler_2d_backward")
"""Operations without a kernel for MPS in torch 2.5, by its own list (native_functions.yaml)."""
BORDER, BICUBIC = 1, 2
ON_ITS_WAY = ("lift_fresh", "_to_copy", "to", "detach", "copy_")
"""What is done to a tensor before it is on a device."""


class LikeMPS(TorchDispatchMode):
    """A device as MPS is with torch 2.5."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        if name.startswith(MISSING):
            raise NotImplementedError(f"The operator 'aten::{name}' is not currently implemented for the MPS device.")
        if name in ("grid_sampler_2d", "grid_sampler") and (args[3] == BORDER or args[2] == BICUBIC):
            raise RuntimeError("MPS: Unsupported Border padding mode")
        if name not in ON_ITS_WAY and any(isinstance(one, torch.Tensor) and one.dtype is torch.float64 for one in args):
            raise TypeError("the MPS framework doesn't support float64")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("upsampling", ["bilinear", "bicubic"])
@pytest.mark.parametrize("is_own", [True, False])
def test_a_model_is_used_without_what_mps_lacks(is_own, upsampling):
    volume, _ = ball_volume()
    with LikeMPS():
        session = Session(small_model(rasterize_prompts=is_own), volume, options=EngineOptions(upsampling=upsampling))
        session.add_point(1, "axial", 8, (20, 20))
        session.add_point(1, "axial", 8, (30, 30), positive=False)
        session.add_box(2, "axial", 8, BOX)
        session.add_mask(3, "axial", 8, np.eye(*session.slice_mask(2, "axial", 8).mask.shape, dtype=bool))
        assert next(iter(session.propagate(2, last=9))).mask.shape == session.mask(2).shape[1:]


@pytest.mark.parametrize("kind", ["click", "box", "mask"])
def test_a_model_is_trained_without_what_mps_lacks(kind):
    model = mini_model()
    with LikeMPS():
        step = ClipSegmenter(model, PromptConfig(prev_box_prob=1.0), LossConfig())
        chosen = plan(kind, corrected=() if kind == "mask" else (0,), num_corrections=1)
        step(disc_clip(0), np.random.default_rng(0), plan=chosen).losses.total(LossConfig()).backward()
    assert any(parameter.grad is not None for parameter in model.parameters())


def test_a_device_that_can_do_all_is_found_able():
    with LikeMPS():
        assert examine(torch.device("cpu")) == DeviceReport()


def refusing(monkeypatch, name):
    """A device that has a torch function no more."""

    def refused(*_, **__):
        raise NotImplementedError(f"The operator '{name}' is not currently implemented for the MPS device. If you want")

    model_on_device = device_probe.all_stages

    def all_stages(model, images):
        with monkeypatch.context() as patched:
            if all_stages.num_calls:
                patched.setattr(torch.nn.functional, name, refused)
            all_stages.num_calls += 1
            return model_on_device(model, images)

    all_stages.num_calls = 0
    monkeypatch.setattr(device_probe, "all_stages", all_stages)


def test_a_device_that_cannot_run_a_model_is_found_out(monkeypatch):
    refusing(monkeypatch, "gelu")
    report = examine(torch.device("cpu"))
    assert "'gelu' is not currently implemented" in report.problem(trains=False)


def test_a_device_that_cannot_train_may_still_be_used(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "backward", lambda *_: (_ for _ in ()).throw(RuntimeError("no backward")))
    report = examine(torch.device("cpu"))
    assert report.problem(trains=False) == ""
    assert report.problem(trains=True) == "no backward"


def test_other_numbers_than_the_cpus_are_found_out(monkeypatch):
    stages, calls = device_probe.all_stages, []

    def wrong(model, images):
        calls.append(1)
        return [values * len(calls) for values in stages(model, images)]

    monkeypatch.setattr(device_probe, "all_stages", wrong)
    assert "other numbers" in examine(torch.device("cpu")).forward


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os._exit(7)", "ended with code 7"),
        ("print('hello')", "ended with code 0"),
        ("import time; time.sleep(60)", "no answer in 1 s"),
        ('print(\'{"forward": "", "backward": "none"}\')', ""),
    ],
)
def test_whatever_becomes_of_the_process_there_is_a_report(monkeypatch, code, words):
    monkeypatch.setattr(device_probe, "LIMIT_S", 1.0 if "sleep" in code else 60.0)
    assert words in device_probe._run([sys.executable, "-c", code]).forward


@pytest.fixture
def new_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROSAM2_HOME", str(tmp_path))
    return tmp_path


def test_a_device_is_tried_once_on_a_machine(new_machine):
    asked = []

    def run(command):
        asked.append(command)
        return DeviceReport(backward="no backward")

    assert probed("mps", run=run) == probed("mps", run=run) == DeviceReport(backward="no backward")
    assert len(asked) == 1


@pytest.mark.parametrize("damaged", ["{", "3", '{"forward": 3}', "[" * 100_000])
def test_what_cannot_be_read_of_an_earlier_start_is_found_out_again(new_machine, damaged):
    report = DeviceReport(backward="no backward")
    assert probed("mps", run=lambda command: report) == report
    facts = json.loads(facts_file().read_text(encoding="utf-8"))
    facts_file().write_text(json.dumps(dict.fromkeys(facts, damaged)), encoding="utf-8")
    assert probed("mps", run=lambda command: report) == report


def test_the_process_that_tries_a_device_finds_this_copy(new_machine, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert probed("cpu") == DeviceReport()


@pytest.fixture
def machine_with_mps(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)

    def set_report(report):
        monkeypatch.setattr(device_probe, "probed", lambda device: report)

    return set_report


def test_a_device_that_cannot_is_left_for_the_cpu_with_a_sentence(machine_with_mps, caplog):
    machine_with_mps(DeviceReport(forward="The operator 'aten::x' is not implemented"))
    assert load.resolve_device("auto").type == "cpu"
    assert "the CPU is used, since the mps device cannot run this model: The operator 'aten::x'" in caplog.text
    with pytest.raises(ConfigError, match=r"mps device cannot run this model.*'aten::x'"):
        load.resolve_device("mps")


def test_a_device_that_can_only_be_used_is_not_trained_on(machine_with_mps):
    machine_with_mps(DeviceReport(backward="no backward"))
    assert load.resolve_device("auto").type == "mps"
    assert load.resolve_device("auto", trains=True).type == "cpu"


def test_a_card_that_pytorch_was_not_built_for_is_left_for_the_cpu(monkeypatch, caplog):
    def no_kernel(*_, **__):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch, "ones", no_kernel)
    assert load.resolve_device("auto").type == "cpu"
    assert "no kernel image" in caplog.text


def test_the_probe_has_every_module_of_the_package():
    assert (Path(device_probe.PACKAGE) / "launch.py").is_file()
