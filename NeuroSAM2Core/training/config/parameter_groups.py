"""The configuration of which weights are trained, and how fast."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.schedule import ScheduleConfig

Part = Literal["trunk", "neck", "decoder", "memory"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupConfig:
    """How one part of the model is trained."""

    frozen: bool = False
    """Leave it as it is."""
    learning_rate: float = 5e-6
    """Peak of AdamW's rate."""
    weight_decay: float = 0.1
    """AdamW's decay; biases and the weights of LayerNorm are spared."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """How the rate goes through the run."""

    def __post_init__(self) -> None:
        if not self.learning_rate >= 0:
            raise ConfigError(f"a learning rate must not be negative; got {self.learning_rate:g}")
        if not self.weight_decay >= 0:
            raise ConfigError(f"a weight decay must not be negative; got {self.weight_decay:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrunkConfig(GroupConfig):
    """How the image encoder's trunk is trained."""

    learning_rate: float = 3e-6
    """Peak of AdamW's rate, of the layer after the last block."""
    layer_decay: float = 0.9
    """Each block learns this much slower than the next; 1 for all alike. Position embeddings learn at the full rate."""

    def __post_init__(self) -> None:
        GroupConfig.__post_init__(self)
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"layer_decay must be above 0 and at most 1; got {self.layer_decay:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupsConfig:
    """How each part of the model is trained."""

    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    """The image encoder's trunk; its adapters instead where there are any."""
    neck: GroupConfig = field(default_factory=lambda: GroupConfig(learning_rate=3e-6))
    """The image encoder's feature pyramid."""
    decoder: GroupConfig = field(default_factory=GroupConfig)
    """Prompt encoder and mask decoder."""
    memory: GroupConfig = field(default_factory=GroupConfig)
    """Memory attention, memory encoder, object pointers."""

    def __post_init__(self) -> None:
        if all(self.of(part).frozen for part in PARTS):
            raise ConfigError("every part of the model is frozen: there is nothing to train")

    def of(self, part: Part) -> GroupConfig:
        """One part's."""
        config: GroupConfig = getattr(self, part)
        return config
