"""The configuration of a fine-tuning run: read from TOML, checked, and written into the run's folder as resolved."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.model.lora import LoraConfig
from NeuroSAM2Core.training.config.data import DataConfig, EvaluationConfig, SamplingConfig
from NeuroSAM2Core.training.config.step import GroupsConfig, LossConfig, PromptConfig, PromptControlConfig
from NeuroSAM2Core.training.config.toml_io import Table, build, merged, overrides, read_toml

PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]

PRESET_KEY = "preset"


@dataclass(frozen=True, kw_only=True, slots=True)
class StartConfig:
    """The model that a run starts from."""

    model: str = "nano"
    """A catalog name or a file: ours, or an official `.pt`, `.pth` or `.ckpt`."""
    image_size: int = 0
    """Side of the model's input, pixels; a multiple of 32. 0 for the model's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """AdamW and the length of the run."""

    steps: int = 1000
    """Optimiser steps of the whole run."""
    accumulation: int = 1
    """Batches of each process whose gradients are averaged into one step."""
    clips_per_step: int = 0
    """Clips of one step, over all processes together: however many processes train, and whether one is lost, a step is the same. A
    multiple of `sampling.clips`, in place of `accumulation`; 0: `sampling.clips` x `accumulation` of each process."""
    max_gradient_norm: float = 0.1
    """Gradients are clipped to this L2 norm; 0 for no clipping."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's."""
    ema_decay: float = 0.0
    """Decay per step of a running mean of the weights, which is then what is validated and given out; 0 for none."""

    def __post_init__(self) -> None:
        for name in ("steps", "accumulation"):
            if getattr(self, name) < 1:
                raise ConfigError(f"optim.{name} must be at least 1; got {getattr(self, name)}")
        if self.clips_per_step < 0:
            raise ConfigError(f"optim.clips_per_step must not be negative; got {self.clips_per_step}")
        if self.clips_per_step and self.accumulation > 1:
            raise ConfigError(
                "optim.clips_per_step and optim.accumulation both say how many clips a step has",
                hint="leave optim.accumulation out",
            )
        if not self.max_gradient_norm >= 0:
            raise ConfigError(f"optim.max_gradient_norm must not be negative; got {self.max_gradient_norm:g}")
        if not all(0 <= beta < 1 for beta in (*self.betas, self.ema_decay)):
            raise ConfigError(
                f"optim.betas and optim.ema_decay are from 0 to below 1; got {list(self.betas)} and {self.ema_decay:g}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """The run itself."""

    folder: Path
    """Where it lives."""
    seed: int = 0
    """Everything random follows from this, the step and the rank."""
    precision: PrecisionName = "auto"
    """Arithmetic: `fp32`, `bf16` or `fp16`; `auto` is bf16 on GPUs that have it. Weights are float32 always."""
    saves_memory: bool = False
    """Keep no activations inside the model's stages and compute them again for the gradients: slower, far less memory."""
    is_deterministic: bool = False
    """On a GPU, only operations that give the same bits every time, so that a resumed run ends bit-equal there too; slower."""
    report_every: int = 20
    """Steps between reports."""
    report_after_s: float = 1.0
    """After so many seconds without a report the next step brings one, so that slow runs are seen to go on."""
    validate_every: int = 200
    """Steps between validations; the end is validated too."""
    max_validation_cases: int = 0
    """Validate on the first so many cases; 0 for all."""
    tunes_engine: bool = True
    """At the end, measure on up to 4 validation cases which of the engine's choices suit the model, and store them in it."""
    save_every_s: float = 120.0
    """Seconds between checkpoints; validations, signals and the end save too."""
    timeout_minutes: float = 60.0
    """How long a process waits for the others."""
    wandb_project: str = ""
    """Also report to this project of Weights & Biases; empty for none."""

    def __post_init__(self) -> None:
        for name in ("report_every", "validate_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"run.{name} must be at least 1; got {getattr(self, name)}")
        if self.max_validation_cases < 0:
            raise ConfigError(f"run.max_validation_cases must not be negative; got {self.max_validation_cases}")
        if min(self.save_every_s, self.report_after_s) < 0 or self.timeout_minutes <= 0:
            raise ConfigError(
                f"run.save_every_s and run.report_after_s must not be negative and run.timeout_minutes must be above 0; "
                f"got {self.save_every_s:g}, {self.report_after_s:g} and {self.timeout_minutes:g}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTuneConfig:
    """A fine-tuning run."""

    start: StartConfig = field(default_factory=StartConfig)
    data: DataConfig
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    prompts: PromptConfig = field(default_factory=PromptConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    groups: GroupsConfig = field(default_factory=GroupsConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    evaluation: EvaluationConfig = field(
        default_factory=lambda: EvaluationConfig(num_clicks=0, max_objects=3, has_surfaces=False)
    )
    """How the model is measured while it trains; by default only the first answer, on the largest objects, without surfaces."""
    prompt_control: PromptControlConfig = field(default_factory=PromptControlConfig)
    run: RunConfig

    def __post_init__(self) -> None:
        if self.optim.clips_per_step % self.sampling.clips:
            raise ConfigError(
                f"optim.clips_per_step must be a multiple of sampling.clips; got {self.optim.clips_per_step} and {self.sampling.clips}"
            )

    def batches_per_step(self, num_processes: int) -> int:
        """The batches of one step, over all processes together.

        Raises:
            ConfigError: There are fewer than processes.
        """
        if not self.optim.clips_per_step:
            return self.optim.accumulation * num_processes
        count = self.optim.clips_per_step // self.sampling.clips
        if count < num_processes:
            raise ConfigError(
                f"{num_processes} processes train, and a step has {count} batches",
                hint="start fewer processes, or make sampling.clips smaller or optim.clips_per_step larger",
            )
        return count


def presets() -> list[str]:
    """Names of the recipes in the package."""
    folder = resources.files("NeuroSAM2Core.training.config") / "presets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_config(source: str, words: Sequence[str] = ()) -> FineTuneConfig:
    """The configuration of a file or preset with some settings changed.

    A file may build on a preset: `preset = "meta"` at its top. What the file says wins over the preset, and the words over both.

    Args:
        source: A TOML file, or the name of a preset.
        words: `dotted.key=value` each.

    Raises:
        ConfigError: No such file or preset, or a setting that cannot be used; names it and, if unknown, the nearest.
    """
    is_file = source.endswith(".toml") or disk.is_file(Path(source))
    table = read_toml(Path(source)) if is_file else {PRESET_KEY: source}
    name = table.pop(PRESET_KEY, None)
    if name is not None:
        table = merged(_preset(str(name)), table)
    return build(FineTuneConfig, merged(table, overrides(FineTuneConfig, words)))


def _preset(name: str) -> Table:
    if name not in presets():
        raise ConfigError(f"there is no preset {name!r} and no such file; presets: {', '.join(presets())}")
    with resources.as_file(resources.files("NeuroSAM2Core.training.config") / "presets" / f"{name}.toml") as path:
        return read_toml(path)
