"""Tables, and where they go: each measurement has its place in benchmarks/README.md, between two marks."""

import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

README = Path(__file__).parent / "README.md"
HEAD = ("what", "reference", "here", "factor", "must")


def seconds(act: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def beside(what: str, theirs: float, ours: float, *, unit: str = "ms", target: str = "") -> tuple[str, ...]:
    """A row that compares two numbers, the smaller the better."""
    places = 0 if theirs >= 100 else 1 if theirs >= 10 else 2
    return what, f"{theirs:.{places}f} {unit}", f"{ours:.{places}f} {unit}", f"{theirs / ours:.2f}x", target


def as_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def publish(part: str, command: str, text: str) -> None:
    """Puts a measurement in its place in the README, with the command and the device."""
    device = (
        torch.cuda.get_device_name() if part.startswith("gpu") else f"{processor()}, {os.cpu_count()} virtual cores"
    )
    output = f"`{command}` on {device}; {torch.get_num_threads()} threads, torch {torch.__version__}.\n\n{text}"
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    page, count = re.subn(
        f"{begin}.*{end}", lambda _: f"{begin}\n{output}\n{end}", README.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    if count != 1:
        raise SystemExit(f"{README} has no place for {part!r}")
    README.write_text(page, encoding="utf-8")


def processor() -> str:
    """The CPU's own name and what matters of its instructions."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"model name\s*: (.*)", info)
    known = [label for flag, label in (("amx_bf16", "AMX"), ("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in info]
    return f"{name[1] if name else platform.machine()} ({known[0] if known else 'no AVX2'})"
