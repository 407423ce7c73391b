"""Which weights are trained, and how fast: four parts of the model, each frozen or with its own rate, schedule and decay.

Within the trunk, deeper blocks learn faster than shallow ones (layer-wise decay); biases and the weights of LayerNorm are not decayed.
Nothing here changes while training: a group's rate is a function of the step.

Source: Ravi et al. 2024, appendix D.2; Clark et al., "ELECTRA", 2020 (layer-wise rates).

Learning rates as pure functions of the step: a restart needs nothing but the step number.

Source: cosine as in Loshchilov and Hutter, "SGDR", 2017, without restarts; progress as fvcore counts it: the first step has 0, the last
one not quite 1. `cosine_annealing` is the closed form of PyTorch's CosineAnnealingLR, which climbs again after its period.
`wsd` as in Hu et al., "MiniCPM", 2024: before it falls, the rate does not depend on how long the run will be.
"""

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import assert_never

from torch import Tensor, nn
from torch.optim import AdamW

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.model.lora import LoraConfig
from NeuroSAM2Core.training.config.step import PARTS, GroupConfig, GroupsConfig, Part, ScheduleConfig


def lr_factor(schedule: ScheduleConfig, step: int, total_steps: int) -> float:
    """The learning rate of a step as a share of the peak.

    Args:
        schedule: The curve.
        step: Optimiser steps done so far, from 0.
        total_steps: Of the whole run.
    """
    progress = step / total_steps
    match schedule.kind:
        case "cosine":
            factor = cosine(progress, start=1.0, end=schedule.final)
        case "cosine_annealing":
            factor = cosine(step / (schedule.period_steps or total_steps), start=1.0, end=schedule.final)
        case "linear":
            factor = 1.0 + progress * (schedule.final - 1.0)
        case "constant":
            factor = 1.0
        case "wsd":
            factor = 1.0 + max(0.0, (progress - 1 + schedule.decay) / schedule.decay) * (schedule.final - 1.0)
        case _:
            assert_never(schedule.kind)
    return warmed_up(factor, progress, warmup=schedule.warmup)


def cosine(progress: float, *, start: float, end: float) -> float:
    """Falls from `start` to `end` along half a cosine; beyond 1 it climbs again."""
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * progress))


def warmed_up(value: float, progress: float, *, warmup: float) -> float:
    """`value`, reached in a straight line over the first `warmup` share of the run."""
    return value * min(1.0, (progress + 1e-9) / warmup) if warmup > 0 else value


PREFIXES: tuple[tuple[str, Part], ...] = (
    ("image_encoder.trunk.", "trunk"),
    ("image_encoder.neck.", "neck"),
    ("sam_prompt_encoder.", "decoder"),
    ("sam_mask_decoder.", "decoder"),
)
"""What belongs to which part; all else is memory: its attention, its encoder, the object pointers' projections and embeddings."""
BLOCK = re.compile(r"image_encoder\.trunk\.blocks\.(\d+)\.")
POSITION = "position"


@dataclass(frozen=True, slots=True, eq=False)
class ParameterGroup:
    """Parameters that are trained alike."""

    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    learning_rate: float
    """Peak."""
    weight_decay: float
    schedule: ScheduleConfig

    def rate(self, step: int, total_steps: int) -> float:
        """The learning rate of a step."""
        return self.learning_rate * lr_factor(self.schedule, step, total_steps)


@dataclass(frozen=True, slots=True)
class PartSize:
    """How much of a part is trained."""

    part: Part
    trained: int
    """Numbers that change."""
    total: int


def part_of(name: str) -> Part:
    """The part of the model that a parameter belongs to."""
    return next((part for prefix, part in PREFIXES if name.startswith(prefix)), "memory")


def freeze(model: SAM2, groups: GroupsConfig, lora: LoraConfig) -> None:
    """Marks what is not trained; adapters must be there already.

    Raises:
        ConfigError: Adapters are asked for on a frozen trunk.
    """
    if lora.rank and groups.trunk.frozen:
        raise ConfigError(
            "groups.trunk.frozen and lora.rank contradict each other",
            hint="with adapters the trunk's own weights stay as they are anyway; leave groups.trunk.frozen out",
        )
    for name, parameter in model.named_parameters():
        if groups.of(part_of(name)).frozen:
            parameter.requires_grad_(False)


def evaluate_frozen(model: SAM2) -> None:
    """Parts without a weight that is trained behave as they will when the model is used: nothing is dropped out."""
    for module in (model.image_encoder, model.sam_prompt_encoder, model.sam_mask_decoder, model.memory_attention):
        if not any(parameter.requires_grad for parameter in module.parameters()):
            module.eval()


def parameter_groups(model: SAM2, groups: GroupsConfig) -> list[ParameterGroup]:
    """The parameters that are trained, grouped by everything that tells their training apart."""
    norms = {f"{name}.weight" for name, module in model.named_modules() if type(module) is nn.LayerNorm}
    members: dict[tuple[GroupConfig, int | str | None, bool], list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = part_of(name)
            layer = _layer(name) if part == "trunk" and groups.trunk.layer_decay < 1 else None
            is_decayed = "bias" not in name and name not in norms
            members[groups.of(part), layer, is_decayed].append((name, parameter))
    depth = model.config.trunk.depth
    found = []
    for (config, layer, is_decayed), some in members.items():
        scale = groups.trunk.layer_decay ** (depth + 1 - layer) if isinstance(layer, int) else 1.0
        found.append(
            ParameterGroup(
                names=tuple(name for name, _ in some),
                parameters=tuple(parameter for _, parameter in some),
                learning_rate=scale * config.learning_rate,
                weight_decay=config.weight_decay if is_decayed else 0.0,
                schedule=config.schedule,
            )
        )
    return found


def _layer(name: str) -> int | str:
    """Depth in the trunk: 0 for what embeds patches, 1 for the first block; position embeddings stand apart."""
    block = BLOCK.match(name)
    if block:
        return int(block[1]) + 1
    return POSITION if "pos_embed" in name else 0


def build_optimizer(groups: list[ParameterGroup], *, betas: tuple[float, float] = (0.9, 0.999)) -> AdamW:
    """AdamW over the groups, in their order; the rates are set before every step."""
    return AdamW(
        [{"params": list(group.parameters), "weight_decay": group.weight_decay} for group in groups],
        lr=0.0,
        betas=betas,
    )


def learning_rates(groups: GroupsConfig, step: int, total_steps: int) -> dict[Part, float]:
    """The rate of every part that is trained; of the trunk, what its position embeddings get."""
    return {
        part: config.learning_rate * lr_factor(config.schedule, step, total_steps)
        for part in PARTS
        if not (config := groups.of(part)).frozen
    }


def part_sizes(model: SAM2) -> list[PartSize]:
    """How much of each part is trained, for people to read."""
    sizes: dict[Part, list[Tensor]] = {part: [] for part in PARTS}
    for name, parameter in model.named_parameters():
        sizes[part_of(name)].append(parameter)
    return [
        PartSize(part, sum(p.numel() for p in some if p.requires_grad), sum(p.numel() for p in some))
        for part, some in sizes.items()
    ]
