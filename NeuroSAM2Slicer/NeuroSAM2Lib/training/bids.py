"""Which image a segmentation of a BIDS dataset belongs to, by the entities in their names. Pure.

Source: Brain Imaging Data Structure, "Common principles" (entities, indices) and "Derivatives: imaging data types" (segmentations).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import Rules, decoded, parse_json
from NeuroSAM2Core.naming import stem_of

INDICES = ("run", "echo", "flip", "inv", "split", "chunk")
"""Their values are numbers, with or without zeros before them; all others are compared letter by letter."""
DESCRIPTIONS = ("desc", "atlas", "seg", "label", "hemi")
"""They say what a derivative is, not what it was made from."""
NATIVE = ("orig", "native", "individual", "scanner")
"""Spaces that are the image's own."""
OWN_SPACES = ("T1w", "T2w", "PDw", "FLAIR", "T2star", "UNIT1")
"""Spaces that are named after the image whose own they are."""
SEGMENTATIONS = ("dseg", "probseg", "mask", "defacemask")


@dataclass(frozen=True, slots=True)
class BidsName:
    """What the name of a file says."""

    suffix: str
    """What kind of image it is: T1w, FLAIR, dseg."""
    source: str = ""
    """The kind of image that it was made from, where the name tells it: sub-1_space-T1w_dseg, sub-1_T1w_dseg."""
    entities: frozenset[tuple[str, str]] = field(default=frozenset())
    """Keys and values, without descriptions."""

    @classmethod
    def of(cls, path: Path) -> "BidsName | None":
        """None for a name that is none."""
        *parts, suffix = stem_of(path).split("_")
        source = parts.pop() if suffix in SEGMENTATIONS and parts and "-" not in parts[-1] else ""
        entities = []
        for key, dash, value in (part.partition("-") for part in parts):
            if not (key and dash and value):
                return None
            if key == "space" and value in OWN_SPACES:
                source = value
            elif key not in DESCRIPTIONS and (key, value) not in {("space", native) for native in NATIVE}:
                entities.append((key, value.lstrip("0") or "0" if key in INDICES else value))
        return cls(suffix, source, frozenset(entities))


@dataclass(frozen=True, slots=True)
class _Metadata:
    """What a segmentation was made from, in the words of BIDS: one file or several."""

    Sources: tuple[str, ...] | None = None
    RawSources: tuple[str, ...] | None = None


def images_of(label: Path, images: Iterable[Path]) -> list[Path]:
    """The images that a segmentation can belong to: those that its metadata name, or of the same entities, or else with more of them."""
    parsed = BidsName.of(label)
    named = [(path, name) for path in images if (name := BidsName.of(path)) and name.suffix not in SEGMENTATIONS]
    if sources := _sources(label):
        return [path for path, _ in named if path.name in sources]
    if parsed is None:
        return []
    fitting = [(path, name) for path, name in named if parsed.source in ("", name.suffix)]
    exact = [path for path, name in fitting if name.entities == parsed.entities]
    return exact or [path for path, name in fitting if name.entities > parsed.entities and _grid(name) == _grid(parsed)]


def _grid(name: BidsName) -> set[tuple[str, str]]:
    """What places the voxels."""
    return {(key, value) for key, value in name.entities if key in ("space", "res")}


def _sources(label: Path) -> set[str]:
    """The names of the files that a segmentation's metadata say it was made from; empty where they say nothing."""
    try:
        text = disk.read_text(label.with_name(f"{stem_of(label)}.json"))
        metadata = decoded(_Metadata, parse_json(text), "", Rules(skips_unknown=True, is_for_people=True))
    except (OSError, ValueError):
        return set()
    listed = (*(metadata.Sources or ()), *(metadata.RawSources or ()))
    return {one.replace(":", "/").rsplit("/", 1)[-1] for one in listed}
