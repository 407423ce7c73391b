"""How much memory is free: asked before something large is read. psutil is asked for only here."""

from pathlib import Path

from NeuroSAM2Core.errors import DataError

GROUP = Path("/sys/fs/cgroup")
LIMITS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
"""Of a container, of the two kinds of control groups: what it may use, what it uses, and of what kind that is."""
CACHE = ("active_file", "inactive_file")
"""Parts of what is used that the system gives back: files that were read."""
NEAR_FULL = 0.95
"""Share of the free memory that an image may take."""


def free_memory() -> int:
    """Bytes that this process can still use without swapping, of the machine or of its container."""
    import psutil

    return max(0, min([int(psutil.virtual_memory().available), *_left_to_group()]))


def check_memory(name: str, num_bytes: int) -> None:
    """Checks that an image fits into the memory that is free.

    Raises:
        DataError: It does not.
    """
    free = free_memory()
    if num_bytes > NEAR_FULL * free:
        raise DataError(
            f"{name} needs {num_bytes / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free",
            hint="close other programs, cut the image to what matters, or use a machine with more memory",
        )


def _left_to_group() -> list[int]:
    for limit, used, parts in LIMITS:
        try:
            stat = dict(line.split() for line in (GROUP / parts).read_text(encoding="utf-8").splitlines())
            cache = sum(int(stat.get(name, 0)) for name in CACHE)
            return [
                int((GROUP / limit).read_text(encoding="utf-8"))
                - int((GROUP / used).read_text(encoding="utf-8"))
                + cache
            ]
        except (OSError, ValueError):  # no such group, or without a limit
            continue
    return []
