"""Measurements on disk: one JSON line for each method and object, so that a measurement that was killed goes on where it was."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.quality.measures import Measurement


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line."""

    method: str
    version: str
    """Of the weights and of the code that used them; another version is measured again."""
    row: str
    size: str
    """small or large."""
    group: str
    digest: str
    """Of the image and the truth."""
    measured: Measurement

    def to_json(self) -> str:
        """One line, without its end."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return json.dumps({**values, "measured": self.measured.to_dict()})

    @classmethod
    def from_json(cls, line: str) -> "Entry":
        """The inverse of `to_json`."""
        values = json.loads(line)
        return cls(**{**values, "measured": Measurement.from_dict(values["measured"])})


@dataclass(slots=True)
class Results:
    """The lines of a file, and what is added to it."""

    path: Path
    entries: list[Entry] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path) -> "Results":
        """What the file holds by now; a last line that was cut off is left out, and mended."""
        results = cls(path)
        if path.exists():
            text = path.read_text(encoding="utf-8")
            complete = text[: text.rfind("\n") + 1]
            if complete != text:
                path.write_text(complete, encoding="utf-8")
            results.entries = [Entry.from_json(line) for line in complete.splitlines()]
        return results

    def find(self, method: str, version: str, row: str, digest: str, corrections: int) -> Entry | None:
        """A measurement of just that with at least so many corrections."""
        for entry in reversed(self.entries):
            same = (entry.method, entry.version, entry.row, entry.digest) == (method, version, row, digest)
            if same and entry.measured.corrections >= corrections:
                return entry
        return None

    def latest(self, method: str, row: str) -> Entry | None:
        """The newest measurement of a method on a row, of any version."""
        return next((e for e in reversed(self.entries) if (e.method, e.row) == (method, row)), None)

    def add(self, entry: Entry) -> None:
        """Appends a line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(entry.to_json() + "\n")
        self.entries.append(entry)
