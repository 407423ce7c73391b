"""What a run leaves behind for people and panels: one JSON line per report."""

import json
import math
from pathlib import Path


class Recorder:
    """Appends to `metrics.jsonl`; lines from steps that a restart will repeat are dropped."""

    def __init__(self, folder: Path, *, from_step: int) -> None:
        self.path = folder / "metrics.jsonl"
        if self.path.exists():
            kept = [line for line in self.path.read_text().splitlines() if json.loads(line)["step"] <= from_step]
            self.path.write_text("".join(line + "\n" for line in kept))

    def write(self, values: dict[str, float]) -> None:
        """One line; not-a-number is left out."""
        finite = {key: round(value, 6) for key, value in values.items() if math.isfinite(value)}
        with self.path.open("a") as file:
            file.write(json.dumps(finite) + "\n")
