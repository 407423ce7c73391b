"""Unsaved work, written down as it is done, so that it survives the death of the host. Append-only, one JSON line per change.

Each line holds a whole statement (the prompts of an object; a mask on a slice), so that a journal that was cut in the middle
of a line is worth everything before it. Masks are bits, packed and compressed. A journal goes away when its scene is saved or
its session ends in order.
"""

import base64
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.prompts import BoxPrompt, PointPrompt
from NeuroSAM2Core.version import __version__
from NeuroSAM2Core.volume import Axis, SlicePlane, pack_mask, unpack_mask
from NeuroSAM2MRML.objects.prompts import ChosenReading, ObjectPrompts, PlacedBox, PlacedPoint
from NeuroSAM2MRML.scene.fingerprint import Fingerprint

SUFFIX = ".jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalHead:
    """What a journal is about."""

    volume_name: str
    fingerprint: Fingerprint
    """Of the volume."""
    shape: tuple[int, int, int]
    """(K, J, I)."""
    pid: int
    """The process that writes it."""
    version: str = __version__


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptsLine:
    """All prompts of an object from here on."""

    object_id: int
    segment_name: str
    prompts: ObjectPrompts


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MaskLine:
    """An object on a slice from here on."""

    object_id: int
    plane: SlicePlane
    mask: NDArray[np.bool_]
    """(H, W)."""


class Journal:
    """Writes one.

    Args:
        path: A file that is not there yet.
        head: What it is about.

    Raises:
        DataError: It cannot be written.
    """

    def __init__(self, path: Path, head: JournalHead) -> None:
        self.path, self.head = path, head
        self._has_begun = False

    def note(self, line: PromptsLine | MaskLine) -> None:
        """Writes a line.

        Raises:
            DataError: There is no room, or the folder is gone.
        """
        try:
            if not self._has_begun:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.write_text(json.dumps({"head": asdict(self.head)}) + "\n")
                self._has_begun = True
            with self.path.open("a") as file:
                file.write(json.dumps(_to_json(line)) + "\n")
        except OSError as error:
            raise DataError(
                f"unsaved work cannot be written down: {error.strerror or error}",
                hint="free some space, and save the scene",
            ) from error

    def discard(self) -> None:
        """The work is safe elsewhere."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Unsaved:
    """A journal that somebody left behind."""

    path: Path
    head: JournalHead

    def lines(self) -> Iterator[PromptsLine | MaskLine]:
        """What it says, up to where it was cut."""
        for said in _whole_lines(self.path):
            if "head" not in said:
                yield _from_json(said)


def unsaved_in(folder: Path) -> list[Unsaved]:
    """Journals of processes that are gone, the newest first."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        head = next((_head(said["head"]) for said in _whole_lines(path) if "head" in said), None)
        if head is not None and not _is_running(head.pid):
            found.append((path.stat().st_mtime, Unsaved(path, head)))
    return [one for _, one in sorted(found, key=lambda pair: pair[0], reverse=True)]


def _head(said: dict[str, Any]) -> JournalHead | None:
    """None for one that another version wrote in another way."""
    try:
        voxels, matrix = said["fingerprint"]["voxels"], tuple(map(float, said["fingerprint"]["ijk_to_ras"]))
        depth, height, width = said["shape"]
        return JournalHead(
            volume_name=said["volume_name"],
            fingerprint=Fingerprint(voxels=voxels, ijk_to_ras=matrix),
            shape=(depth, height, width),
            pid=int(said["pid"]),
            version=said["version"],
        )
    except (KeyError, TypeError, ValueError):
        return None


def _is_running(pid: int) -> bool:
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OSError):
        return True
    return True


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        for line in path.read_text().splitlines():
            said = json.loads(line)
            if isinstance(said, dict):
                yield said
    except (OSError, ValueError):  # cut in the middle of a line
        return


def _to_json(line: PromptsLine | MaskLine) -> dict[str, object]:
    if isinstance(line, MaskLine):
        bits = base64.b85encode(zlib.compress(pack_mask(line.mask), 1)).decode()
        return {
            "object": line.object_id,
            "axis": line.plane.axis,
            "index": line.plane.index,
            "shape": line.mask.shape,
            "mask": bits,
        }
    said = line.prompts
    return {
        "object": line.object_id,
        "name": line.segment_name,
        "axis": said.axis,
        "points": [[p.index, p.point.row, p.point.col, p.point.positive] for p in said.points],
        "boxes": [[b.index, b.box.row0, b.box.col0, b.box.row1, b.box.col1] for b in said.boxes],
        "kept": sorted(said.kept),
        "readings": sorted([r.index, r.reading] for r in said.readings),
    }


def _from_json(said: dict[str, Any]) -> PromptsLine | MaskLine:
    if "mask" in said:
        bits = zlib.decompress(base64.b85decode(said["mask"]))
        height, width = said["shape"]
        return MaskLine(
            object_id=said["object"],
            plane=SlicePlane(Axis(said["axis"]), said["index"]),
            mask=unpack_mask(bits, (height, width)),
        )
    prompts = ObjectPrompts(
        axis=Axis(said["axis"]) if said["axis"] else None,
        points=tuple(PlacedPoint(i, PointPrompt(row, col, positive)) for i, row, col, positive in said["points"]),
        boxes=tuple(PlacedBox(i, BoxPrompt(*box)) for i, *box in said["boxes"]),
        kept=frozenset(said["kept"]),
        readings=frozenset(ChosenReading(index, reading) for index, reading in said.get("readings", [])),
    )
    return PromptsLine(object_id=said["object"], segment_name=said["name"], prompts=prompts)
