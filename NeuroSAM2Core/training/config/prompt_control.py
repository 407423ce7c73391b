"""The configuration of the control of prompt probabilities by validation scores."""

from dataclasses import dataclass

from NeuroSAM2Core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptControlConfig:
    """Whether and how strongly the shares move."""

    is_on: bool = False
    """Off: the probabilities stay as configured."""
    strength: float = 1.0
    """Power of the ratio of the two errors (1 - Dice) by which the ratio of the probabilities is multiplied; 0 moves nothing."""
    memory: int = 3
    """The last so many validations are averaged."""
    min_factor: float = 0.1
    """Neither kind falls below this share of the two together."""

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise ConfigError(f"prompt_control.strength must not be negative; got {self.strength:g}")
        if self.memory < 1:
            raise ConfigError(f"prompt_control.memory must be at least 1; got {self.memory}")
        if not 0 <= self.min_factor <= 0.5:
            raise ConfigError(f"prompt_control.min_factor is from 0 to 0.5; got {self.min_factor:g}")
