"""`make bench`: all measurements of this machine's CPU, written as tables into benchmarks/README.md.

Usage: python -m benchmarks.run [speed] [files] [quality] [corrections] [confidence] [training] [worker] [mrml] [components]
"""

import sys

from benchmarks import components, confidence, corrections, files, mrml, quality, speed, training, worker
from benchmarks.report import publish

PARTS = {
    "speed": speed.measure,
    "files": files.measure,
    "quality": quality.measure,
    "corrections": corrections.measure,
    "confidence": confidence.measure,
    "training": training.measure,
    "worker": worker.measure,
    "mrml": mrml.measure,
    "components": components.measure,
}


def main() -> None:
    """Measures and writes, part by part."""
    asked = sys.argv[1:] or list(PARTS)
    for part in asked:
        if part not in PARTS:
            raise SystemExit(f"there is no part {part!r}; parts: {', '.join(PARTS)}")
        publish(part, f"python -m benchmarks.run {part}", PARTS[part]())


if __name__ == "__main__":
    main()
