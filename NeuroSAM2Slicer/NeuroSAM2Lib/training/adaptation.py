"""Presets of what to adapt, and expert settings. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.training.run import PARTS, Part


@dataclass(frozen=True, kw_only=True, slots=True)
class Adaptation:
    """A choice of parts with a name."""

    title: str
    parts: tuple[Part, ...]
    adapter_rank: int = 0


ADAPTATIONS = (
    Adaptation(title=_("How it outlines and propagates (recommended)"), parts=("decoder", "memory")),
    Adaptation(title=_("Only how it outlines a slice (fewest cases)"), parts=("decoder",)),
    Adaptation(
        title=_("Also how it reads images, gently (adapters)"), parts=("decoder", "memory", "neck"), adapter_rank=8
    ),
    Adaptation(title=_("Everything (most cases, most memory)"), parts=PARTS),
)
EXPERT = _("As chosen below, for experts")
"""The title of any other choice of parts."""


def matching(parts: Collection[str], adapter_rank: int) -> int | None:
    """The number of the adaptation with these parts; None where an expert has chosen otherwise."""
    for number, one in enumerate(ADAPTATIONS):
        if set(one.parts) == set(parts) and one.adapter_rank == adapter_rank:
            return number
    return None


def parse_settings(text: str) -> Mapping[str, str]:
    """Settings of an expert: `dotted.key = value`, one on a line; lines that begin with # are left out.

    Raises:
        ConfigError: A line is none.
    """
    settings = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key, sign, value = (part.strip() for part in line.partition("="))
        if not sign or not key or not value:
            raise ConfigError(
                _("line {number} of the settings is {line!r}; expected key = value").format(number=number, line=line),
                hint=_("correct that line"),
            )
        settings[key] = value
    return settings
