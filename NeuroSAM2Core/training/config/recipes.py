"""The recipes of pretraining, by name, and the same with some settings changed."""

import tomllib
from collections.abc import Sequence
from dataclasses import replace

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.anatomy import AnatomyConfig
from NeuroSAM2Core.training.config.pretraining import PretrainConfig, RecipeConfig, Stage
from NeuroSAM2Core.training.config.refiner import RefinerConfig
from NeuroSAM2Core.training.config.toml_io import build, merged, overrides, to_toml

SCRATCH = PretrainConfig()
RECIPES: dict[str, RecipeConfig | RefinerConfig] = {
    "scratch": SCRATCH,
    "refine": PretrainConfig(
        seed=1,
        learning_rate=5e-4,
        prompts=replace(SCRATCH.prompts, swap_object_prob=0.3),
        stages=(
            Stage(image_size=256, steps=700, clips=48, slices=1, objects=4),
            Stage(image_size=256, steps=400, clips=32, slices=4, objects=3, max_gap=6, perturb_prev_mask_prob=0.6),
        ),
    ),
    "anatomy": AnatomyConfig(),
    "refiner": RefinerConfig(),
}
"""How `nano` was made: from scratch, once more at full size with what it learned as the start, then on real anatomy; and its refiner."""


def find_recipe(name: str, settings: Sequence[str] = ()) -> RecipeConfig | RefinerConfig:
    """A recipe with settings changed by `dotted.key=value` words.

    Raises:
        ConfigError: There is no such recipe, or a setting is unknown or out of range.
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe {name!r}; recipes: {', '.join(RECIPES)}")
    config = RECIPES[name]
    if not settings:
        return config
    kind = type(config)
    return build(kind, merged(tomllib.loads(to_toml(config)), overrides(kind, settings)))
