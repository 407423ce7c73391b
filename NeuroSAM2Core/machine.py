"""What was measured of this machine, kept in the user's cache folder so that every start decides alike. Deleting the file measures anew."""

import json
import logging
import platform
from collections.abc import Callable
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.catalog import models_folder
from NeuroSAM2Core.decoding import parse_json

logger = logging.getLogger(__name__)

FILE = "machine.json"


def facts_file() -> Path:
    """Where the measurements are kept."""
    return models_folder().parent / FILE


def processor_name() -> str:
    """Which processor this is, as well as the system says; a home folder may be shared by several machines."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except (OSError, UnicodeDecodeError):
        pass
    return platform.processor() or platform.machine()


def cached_fact(question: str, measure: Callable[[], str]) -> str:
    """The answer that an earlier start kept, or the one that is measured now and kept for later ones.

    Args:
        question: With all that the answer depends on: the machine, versions.
        measure: Takes its time.
    """
    kept = _facts().get(question)
    if kept is not None:
        return kept
    answer = measure()
    facts = _facts()  # another process may have been faster: all go by the first answer
    if question in facts:
        return facts[question]
    try:
        facts_file().parent.mkdir(parents=True, exist_ok=True)
        disk.write_atomically(facts_file(), json.dumps(facts | {question: answer}, indent=2) + "\n")
    except OSError as error:
        logger.warning("what was measured cannot be kept in %s: %s", facts_file(), disk.reason(error, facts_file()))
    return answer


def _facts() -> dict[str, str]:
    try:
        payload = parse_json(disk.read_text(facts_file()))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in payload.items() if isinstance(value, str)} if isinstance(payload, dict) else {}
