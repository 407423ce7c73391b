"""Cases that a run could not use, in a file of its folder for those who watch it."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger(__name__)

SKIPPED_FILE = "skipped.jsonl"
"""One JSON object for each, with the case and the reason; begun anew by every session of a run."""


@dataclass(slots=True)
class SkippedCases:
    """What was skipped so far.

    Args:
        file: Gets a line for each; None for no file.
    """

    file: Path | None = None
    found: dict[tuple[str, str], None] = field(default_factory=dict)
    """Cases with their reasons, in order."""

    def add(self, case: str, reason: str) -> bool:
        """Writes a case down; false where this was done before."""
        if (case, reason) in self.found:
            return False
        self.found[case, reason] = None
        if self.file is not None:
            try:
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"case": case, "reason": reason}) + "\n")
            except OSError as error:
                logger.warning("cannot write to %s: %s", self.file.name, error.strerror or error)
        return True
