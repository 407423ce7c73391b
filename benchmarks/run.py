"""`make bench`: all measurements of this machine's CPU, written as tables into benchmarks/README.md.

Usage: python -m benchmarks.run [speed] [files] [quality] [corrections] [confidence] [training] [worker] [mrml] [components] [threads]
                               [views] [cohort] [review] [serve] [memory] [cluster]
       python -m benchmarks.run quality [OPTIONS], see `python -m benchmarks.run quality --help`
"""

import sys

from benchmarks import (
    cluster,
    cohort,
    components,
    confidence,
    corrections,
    files,
    memory,
    mrml,
    review,
    serve,
    speed,
    threads,
    training,
    views,
    worker,
)
from benchmarks.quality import command as quality
from benchmarks.report import publish
from NeuroSAM2Core.errors import DataError

PARTS = {
    "speed": speed.measure,
    "files": files.measure,
    "corrections": corrections.measure,
    "confidence": confidence.measure,
    "training": training.measure,
    "worker": worker.measure,
    "mrml": mrml.measure,
    "components": components.measure,
    "threads": threads.measure,
    "views": views.measure,
    "cohort": cohort.measure,
    "review": review.measure,
    "serve": serve.measure,
    "memory": memory.measure,
    "cluster": cluster.measure,
}
QUALITY = "quality"


def main() -> None:
    """Measures and writes, part by part."""
    if len(sys.argv) > 2 and sys.argv[1] == QUALITY and sys.argv[2].startswith("-"):
        measure_quality(sys.argv[2:])
        return
    asked = sys.argv[1:] or [*PARTS, QUALITY]
    for part in asked:
        if part == QUALITY:
            measure_quality([])
        elif part in PARTS:
            publish(part, f"python -m benchmarks.run {part}", PARTS[part]())
        else:
            raise SystemExit(f"there is no part {part!r}; parts: {', '.join([*PARTS, QUALITY])}")


def measure_quality(arguments: list[str]) -> None:
    """Measures quality; a table in which something is left out is printed and does not go into the README."""
    try:
        report = quality.measure(arguments)
    except DataError as error:
        raise SystemExit(str(error)) from error
    if report.is_complete:
        publish(QUALITY, "python -m benchmarks.run quality", report.text)
    else:
        print(f"{report.text}\nSomething was left out: the page keeps its table.")


if __name__ == "__main__":
    main()
