"""`make bench`: all measurements of this machine's CPU, written as tables into benchmarks/README.md.

Usage: python -m benchmarks.run [speed] [files] [quality] [corrections] [confidence] [training] [worker] [mrml] [components]
       python -m benchmarks.run quality [OPTIONS], see `python -m benchmarks.run quality --help`
"""

import sys

from benchmarks import components, confidence, corrections, files, mrml, speed, training, worker
from benchmarks.quality import command as quality
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
    if len(sys.argv) > 2 and sys.argv[1] == "quality" and sys.argv[2].startswith("-"):
        run_quality(sys.argv[2:])
        return
    asked = sys.argv[1:] or list(PARTS)
    for part in asked:
        if part not in PARTS:
            raise SystemExit(f"there is no part {part!r}; parts: {', '.join(PARTS)}")
        publish(part, f"python -m benchmarks.run {part}", PARTS[part]())


def run_quality(arguments: list[str]) -> None:
    """Measures quality with options; a part of the rows or methods is printed instead of written."""
    text = quality.measure(arguments)
    if quality.is_partial(quality.parser().parse_args(arguments)):
        print(text)
    else:
        publish("quality", "python -m benchmarks.run quality", text)


if __name__ == "__main__":
    main()
