"""Runs that survive: whatever ends them, they go on as if nothing had happened, and what they left behind is whole."""

import itertools
import json
import logging
import math
import os
import resource
import signal
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from NeuroSAM2Core.checkpoint import Checkpoint, load_model
from NeuroSAM2Core.errors import CheckpointError, ConfigError, DataError
from NeuroSAM2Core.model.lora import LoraConfig
from NeuroSAM2Core.training.config.fine_tuning import OptimConfig
from NeuroSAM2Core.training.config.step import GroupConfig, GroupsConfig, PromptConfig, PromptControlConfig
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.fine_tune import begin, fine_tune
from NeuroSAM2Core.training.trainer import loop, recorder
from NeuroSAM2Core.training.trainer.loop import Validation
from NeuroSAM2Core.training.trainer.optimizer_step import LossNotFiniteError
from NeuroSAM2Core.training.trainer.run_folder import RunFolder
from Testing.Support.run_process import kill_a_run, process_context, steps_saved, train_to_the_end
from Testing.Support.training import disc_batches, disc_clip, mini_config

CPU = torch.device("cpu")
LIMIT_S = 60
CONTEXT = process_context()
EVEN = PromptConfig(box=0.5, click=0.5, num_corrections=1)


@pytest.fixture(autouse=True)
def _without_pictures(request, monkeypatch):
    """Drawing takes longer than training does here; only one test looks at the picture."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(loop, "plot_curves", lambda folder: None)


@pytest.fixture
def pictures():
    """With them."""


def run(config, **options):
    return fine_tune(config, CPU, batches=disc_batches(), **options)


def in_single_steps(config, **options):
    """The same run in as many sittings as it has steps."""
    for _ in range(config.optim.steps):
        result = run(config, resume=True, max_seconds=0, **options)
    assert result.is_over
    return result


def weights(result):
    return load_file(result.folder.model)


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


VARIANTS = {
    "plain": {},
    "averaged": {"optim": OptimConfig(steps=4, ema_decay=0.9)},
    "accumulated": {"optim": OptimConfig(steps=4, accumulation=2)},
    "adapters": {"lora": LoraConfig(rank=2, dropout=0.1), "optim": OptimConfig(steps=4, ema_decay=0.9)},
    "frozen": {"groups": GroupsConfig(memory=GroupConfig(frozen=True), neck=GroupConfig(frozen=True))},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_in_many_sittings_ends_bit_equal_to_one_in_a_single_sitting(tmp_path, variant):
    whole = run(mini_config(tmp_path / "whole", **VARIANTS[variant]))
    pieces = in_single_steps(mini_config(tmp_path / "pieces", **VARIANTS[variant]))
    assert_equal(weights(whole), weights(pieces))
    start = Checkpoint.load(tmp_path / "mini.safetensors").state
    changed = {name for name, value in weights(whole).items() if not torch.equal(value, start[name])}
    assert any(name.startswith("sam_mask_decoder") for name in changed)
    if variant == "adapters":
        trunk = {name for name in changed if "trunk" in name}
        assert trunk
        assert all(".attn." in name for name in trunk)
    if variant == "frozen":
        assert not any(name.startswith(("memory_attention", "image_encoder.neck")) for name in changed)


def test_a_run_killed_at_ten_random_moments_ends_bit_equal_to_one_that_was_not(tmp_path):
    steps = 40
    config = mini_config(tmp_path / "whole", steps=steps)
    whole = run(replace(config, run=replace(config.run, save_every_s=3600.0)))
    folder = tmp_path / "killed"
    mini_config(folder, steps=steps)
    rng = np.random.default_rng(0)
    reached = [0]
    for _ in range(10):
        kill_a_run(folder, steps, rng)
        reached.append(steps_saved(folder))
    assert reached == sorted(reached)
    assert len(set(reached)) > 3, f"kills came in the middle: {reached}"
    last = run(mini_config(folder, steps=steps), resume=True)
    assert last.is_over
    assert_equal(weights(whole), weights(last))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == list(range(2, steps + 1, 2)), "every report once"


def test_sigterm_saves_and_ends_in_peace(tmp_path):
    folder = tmp_path / "run"
    mini_config(folder, steps=10_000)
    has_begun = CONTEXT.Event()
    process = CONTEXT.Process(target=train_to_the_end, args=(folder, 10_000, has_begun.set))
    process.start()
    assert has_begun.wait(LIMIT_S)
    process.join(0.5)
    os.kill(process.pid, signal.SIGTERM)
    process.join(LIMIT_S)
    assert process.exitcode == 0
    newest = RunFolder(folder).newest()
    assert newest is not None
    assert newest.training.numbers["step"] >= 1
    assert "stopped at step" in (folder / "log.txt").read_text(encoding="utf-8")
    assert not RunFolder(folder).model.exists()


@pytest.mark.parametrize("asked_at", [0, 1])
def test_a_file_saves_and_ends_a_run_and_the_next_one_goes_on(tmp_path, asked_at):
    config = mini_config(tmp_path / "run", steps=5)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    if asked_at == 0:
        folder.stop_file.touch()
    result = run(config, on_progress=lambda progress: folder.stop_file.touch(), resume=True)
    assert (result.step, result.is_over) == (3 * asked_at, False)  # the second step is reported when it is over
    assert not folder.stop_file.exists()
    assert run(config, resume=True).is_over


def test_the_last_two_checkpoints_and_the_model_are_left(tmp_path):
    result = run(mini_config(tmp_path / "run", steps=4))
    left = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert left == ["step-00000003.safetensors", "step-00000004.safetensors"]
    model = load_model(result.folder.model, device="cpu")
    assert model.config.image_size == 64
    saved = Checkpoint.load(result.folder.path / "checkpoints" / left[-1])
    assert_equal(weights(result), saved.state)
    assert saved.provenance.source == "fine-tuned from mini"
    assert saved.provenance.licence == "Apache-2.0"
    assert saved.provenance.notes == "step 4 of 4"


def test_a_model_that_was_fine_tuned_is_not_carved_by_what_is_learned_on_the_spot(tmp_path):
    config = mini_config(tmp_path / "run", steps=1)
    mini = Checkpoint.load(tmp_path / "mini.safetensors")
    replace(mini, config=replace(mini.config, use_appearance_model=True)).save(tmp_path / "mini.safetensors")
    result = run(config)
    assert not Checkpoint.load(result.folder.model).config.use_appearance_model


def test_a_damaged_checkpoint_is_passed_over_and_reported_so(tmp_path, caplog):
    config = mini_config(tmp_path / "run", steps=4)
    whole = weights(run(config))
    newest = tmp_path / "run" / "checkpoints" / "step-00000004.safetensors"
    newest.write_bytes(newest.read_bytes()[:2000])
    (tmp_path / "run" / "model.safetensors").unlink()
    with caplog.at_level(logging.WARNING):
        again = run(config, resume=True)
    assert "earlier checkpoint" in caplog.text
    assert_equal(whole, weights(again))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path):
    config = mini_config(tmp_path / "run", steps=4)
    run(config, max_seconds=0)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run" / "checkpoints").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(CheckpointError, match="cannot write"):
            run(config, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    after = {path.name: path.read_bytes() for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert after == before
    assert run(config, resume=True).is_over


def test_a_folder_with_a_run_is_only_gone_on_with_when_asked(tmp_path):
    config = mini_config(tmp_path / "run")
    run(config, max_seconds=0)
    with pytest.raises(ConfigError, match="holds a run already"):
        run(config)
    with pytest.raises(ConfigError, match=r"other settings: 'seed = 0' there, 'seed = 1' now"):
        run(replace(config, run=replace(config.run, seed=1)), resume=True)


def test_a_run_of_an_earlier_version_is_gone_on_with(tmp_path):
    config = mini_config(tmp_path / "run")
    run(config, max_seconds=0)
    path = tmp_path / "run" / "config.toml"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert sum(line.startswith(("clips_per_step = ", "supervised = ")) for line in lines) == 2
    former = [
        "taught" + line.removeprefix("supervised") if line.startswith("supervised = ") else line for line in lines
    ]
    path.write_text("".join(line for line in former if not line.startswith("clips_per_step")), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"other settings: 'clips_per_step = 0' there, 'clips_per_step = 4' now"):
        run(replace(config, optim=replace(config.optim, clips_per_step=4)), resume=True)
    assert run(config, resume=True).is_over


def test_a_run_that_saved_nothing_gives_way_to_another(tmp_path):
    config = mini_config(tmp_path / "run")

    def no_batches(numbers, *, image_size):
        raise DataError("there is nothing to train on")

    with pytest.raises(DataError, match="nothing to train on"):
        fine_tune(config, CPU, batches=no_batches)
    assert (tmp_path / "run" / "config.toml").exists()
    assert run(replace(config, run=replace(config.run, seed=1))).is_over
    assert "seed = 1" in (tmp_path / "run" / "config.toml").read_text(encoding="utf-8")


def test_loader_processes_end_with_the_run_even_if_the_batches_are_referenced(tmp_path):
    kept, ended = [], []

    def endless():
        try:
            for n in itertools.count():
                yield disc_clip(n)
        finally:
            ended.append(True)

    def batches(numbers, *, image_size):
        kept.append(endless())
        return kept[0]

    assert fine_tune(mini_config(tmp_path / "run", steps=1), CPU, batches=batches).is_over
    assert ended


def test_a_run_may_move_to_another_place(tmp_path):
    run(mini_config(tmp_path / "here"), max_seconds=0)
    (tmp_path / "here").rename(tmp_path / "there")
    assert run(mini_config(tmp_path / "there"), resume=True).is_over


def test_a_loss_that_is_no_number_leaves_its_batch_behind(tmp_path):
    def batches(numbers, *, image_size):
        for n in numbers:
            clip = disc_clip(n)
            yield ClipBatch(clip.images * (math.nan if n == 1 else 1), clip.masks)

    with pytest.raises(LossNotFiniteError, match="the loss of step 1 is nan") as caught:
        fine_tune(mini_config(tmp_path / "run"), CPU, batches=batches)
    path = tmp_path / "run" / "bad_batch_step1_rank0.safetensors"
    assert str(path) in caught.value.hint
    kept = load_file(path)
    assert torch.equal(kept["masks"], disc_clip(1).masks)
    assert kept["images"].isnan().all()


def test_a_slow_run_reports_every_step(tmp_path):
    config = mini_config(tmp_path / "run", steps=3)
    run(replace(config, run=replace(config.run, report_after_s=0.0)))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]


@pytest.mark.usefixtures("pictures")
def test_the_best_checkpoint_is_that_of_the_best_validation(tmp_path):
    scores = iter([0.2, 0.7, 0.5])
    seen = []

    def validator(process_group):
        def validate(state):
            seen.append({name: value.clone() for name, value in state.weights().items()})
            score = next(scores)
            return Validation(score, {"box_dice": score})

        return validate

    config = mini_config(tmp_path / "run", steps=5)
    config = replace(config, run=replace(config.run, validate_every=2))
    result = run(config, validator=validator)
    assert_equal(Checkpoint.load(result.folder.best).state, seen[1])
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["step"], row["validation.box_dice"]) for row in rows if "validation.box_dice" in row] == [
        (2, 0.2), (4, 0.7), (5, 0.5),
    ]  # fmt: skip
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_prompts_follow_validation_and_a_resumed_run_remembers_it(tmp_path):
    def validator(process_group):
        return lambda state: Validation(0.5, {"box_dice": 0.9, "click_dice": 0.5})

    config = mini_config(tmp_path / "whole", prompt_control=PromptControlConfig(is_on=True), prompts=EVEN)
    config = replace(config, run=replace(config.run, validate_every=1, seed=2))
    whole = run(config, validator=validator)
    pieces = in_single_steps(replace(config, run=replace(config.run, folder=tmp_path / "pieces")), validator=validator)
    assert_equal(weights(whole), weights(pieces))
    uncontrolled = replace(
        config, prompt_control=PromptControlConfig(), run=replace(config.run, folder=tmp_path / "uncontrolled")
    )
    still = run(uncontrolled, validator=validator)
    assert any(not torch.equal(v, weights(still)[n]) for n, v in weights(whole).items()), "the control did something"


def test_tensorboard_has_the_curves_and_its_absence_is_reported_once(tmp_path, caplog, monkeypatch):
    run(mini_config(tmp_path / "with"))
    assert list((tmp_path / "with" / "tensorboard").glob("events*"))
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with caplog.at_level(logging.WARNING):
        run(mini_config(tmp_path / "without"))
    assert caplog.text.count("TensorBoard") == 1
    assert (tmp_path / "without" / "metrics.jsonl").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no name that is not Unicode")
@pytest.mark.parametrize("name", [b"caf\xe9", "äł".encode()])
def test_tensorboard_reads_the_curves_in_a_folder_of_any_name(tmp_path, monkeypatch, name):
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    for from_step, losses in ((0, (0.5, 0.25, 0.75)), (2, (0.125,))):
        sinks = recorder.open_recorder(folder, from_step=from_step)
        for step, loss in enumerate(losses, from_step + 1):
            sinks.write(step, {"loss": loss, "lr": 1.0})
        sinks.close()
    monkeypatch.chdir(folder / "tensorboard")
    events = EventAccumulator(".").Reload()
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert [one.value for one in events.Scalars("lr")] == [1.0, 1.0, 1.0]


def test_weights_and_biases_is_not_imported_unless_asked_for(tmp_path):
    run(mini_config(tmp_path / "run"))
    assert "wandb" not in sys.modules


def test_weights_and_biases_goes_on_in_the_same_run(tmp_path, monkeypatch):
    calls = []

    class Run:
        def log(self, values, step):
            calls.append((step, "loss" in values))

        def finish(self):
            calls.append("finished")

    def init(**options):
        calls.append((options["project"], options["id"], options["resume"]))
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    config = mini_config(tmp_path / "run", steps=2)
    config = replace(config, run=replace(config.run, report_every=1, wandb_project="brains"))
    run(config, max_seconds=0)
    run(config, resume=True)
    begun = ("brains", "run", "allow")
    assert calls == [begun, (1, True), "finished", begun, (2, True), "finished"]


def test_weights_and_biases_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    config = mini_config(tmp_path / "run")
    with pytest.raises(ConfigError, match="not installed"):
        run(replace(config, run=replace(config.run, wandb_project="brains")))


def test_a_checkpoint_that_holds_only_a_model_cannot_be_gone_on_with(tmp_path):
    config = mini_config(tmp_path / "run")
    with pytest.raises(CheckpointError, match="only a model"):
        begin(config, Checkpoint.load(tmp_path / "mini.safetensors"), CPU)


def test_a_model_of_another_kind_is_refused_by_name(tmp_path):
    config = mini_config(tmp_path / "run")
    (tmp_path / "foreign.pt").write_bytes(b"nothing of the kind")
    foreign = replace(config, start=replace(config.start, model=str(tmp_path / "foreign.pt")))
    with pytest.raises(CheckpointError, match=r"foreign\.pt"):
        run(foreign)


def test_tensorboard_that_cannot_write_ends_no_run(tmp_path, caplog, monkeypatch):
    def refuse(*_, **__):
        raise FileNotFoundError("its own idea of the folder's name")

    monkeypatch.setattr(recorder, "TensorBoard", refuse)
    sinks = recorder.open_recorder(tmp_path, from_step=0)
    sinks.write(1, {"loss": 0.5})
    sinks.close()
    assert recorder.read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 0.5}]
    assert "no TensorBoard events" in caplog.text
