"""How much memory is free: asked before something large is read. psutil is asked for only here."""

from pathlib import Path

GROUP = Path("/sys/fs/cgroup")
LIMITS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
"""Of a container, of the two kinds of control groups: what it may use, what it uses, and of what kind that is."""
CACHE = ("active_file", "inactive_file")
"""Parts of what is used that the system gives back: files that were read."""


def free_memory() -> int:
    """Bytes that this process can still use without swapping, of the machine or of its container."""
    import psutil

    return max(0, min([int(psutil.virtual_memory().available), *_left_to_group()]))


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
