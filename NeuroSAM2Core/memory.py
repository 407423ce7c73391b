"""How much memory is free: asked before something large is read. psutil is asked for only here."""

from pathlib import Path

GROUP = Path("/sys/fs/cgroup")
LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
"""Of a container, of the two kinds of control groups: what it may use and what it uses."""


def free_memory() -> int:
    """Bytes that this process can still use without swapping, of the machine or of its container."""
    import psutil

    return max(0, min([int(psutil.virtual_memory().available), *_left_to_group()]))


def _left_to_group() -> list[int]:
    for limit, used in LIMITS:
        try:
            return [int((GROUP / limit).read_text()) - int((GROUP / used).read_text())]
        except (OSError, ValueError):  # no such group, or without a limit
            continue
    return []
