"""Stands for `python -m NeuroSAM2Core`: `train` writes what a run writes, a step whenever `go` grows, or draws; `report` writes a table."""

import json
import signal
import struct
import sys
import time
import tomllib
import zlib
from pathlib import Path

STEPS = 5


def train(config: Path) -> int:
    payload = tomllib.loads(config.read_text(encoding="utf-8"))
    folder = Path(payload["run"]["folder"])
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    metrics, go = folder / "metrics.jsonl", config.with_suffix(".go")
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    stop = folder / "stop"
    done = len(metrics.read_text(encoding="utf-8").splitlines()) if metrics.exists() else 0
    while done < STEPS:
        if (stopped or stop.exists()) and not config.with_suffix(".deaf").exists():
            return 0
        if not go.exists() or go.stat().st_size <= done:
            time.sleep(0.005)  # a child process of its own: nobody waits for it by the clock
            continue
        if go.read_bytes()[done : done + 1] == b"!":
            sys.stdout.write("loss is not a number\n")
            return 2
        done += 1
        with metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": done, "loss": 1 / done}) + "\n")
    (folder / "model.safetensors").write_bytes(b"weights")
    if config.with_suffix(".deaf").exists():
        signal.pause()
    return 0


def check(config: Path) -> int:
    payload = tomllib.loads(config.read_text(encoding="utf-8"))
    folder = Path(payload["run"]["folder"]) / "clips"
    folder.mkdir(exist_ok=True)
    for number in (1, 2, 3):
        with (folder / f"clip-{number:02}.png").open("xb") as file:
            file.write(picture(8 * number))
    sys.stdout.write("training: 1 case, 1 object\nnothing is wrong\n")
    return 0


def picture(side: int) -> bytes:
    """A grey square as PNG."""
    rows = (b"\0" + b"\x80" * side) * side
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    return b"\x89PNG\r\n\x1a\n" + body


def report(words: list[str]) -> int:
    folder = Path(words[words.index("--out") + 1])
    path = folder / "report.json"
    if path.exists() and "--overwrite" not in words:
        return 2
    told = folder.parent / "afters.json"  # Dice of each case, where a test wants others
    afters = json.loads(told.read_text(encoding="utf-8")) if told.exists() else [0.7, 0.75, 0.8]
    path.write_text(json.dumps(compared(afters)), encoding="utf-8")
    (folder / "report.png").write_bytes(picture(8))
    (folder / "asked.json").write_text(json.dumps(words), encoding="utf-8")
    return 0


def compared(afters: list[float]) -> dict[str, object]:
    """A report on cases whose Dice was 0.5 before."""
    after = sum(afters) / len(afters)
    paired = {"before": 0.5, "after": after, "difference": after - 0.5, "low": None, "high": None, "pairs": len(afters)}
    if len(afters) > 2:
        paired |= {"low": min(afters) - 0.5, "high": max(afters) - 0.5}
    cases = [{"case": f"case{n}", "before": 0.5, "after": one} for n, one in enumerate(afters, start=1)]
    counts = {"limit": 5, "unreached_before": len(afters), "unreached_after": 1}
    needed = paired | {"before": 6.0, "after": 3.5}
    return {
        "verdict": {"dice": paired, "cases": cases},
        "rows": [
            {"kind": "box", "what": "Dice after the first prompt", "paired": paired, "counts": None},
            {"kind": "box", "what": "corrections to Dice 0.85", "paired": needed, "counts": counts},
        ],
    }


def download(words: list[str]) -> int:
    folder = Path(words[words.index("--folder") + 1])
    if words[0] == "sam2_hiera_small":
        sys.stdout.write("could not reach the server\n")
        return 2
    (folder / f"{words[0]}.safetensors").write_bytes(b"weights")
    return 0


if __name__ == "__main__":
    sys.exit(
        {"train": lambda w: (check if "--check" in w else train)(Path(w[0])), "report": report, "download": download}[
            sys.argv[3]
        ](sys.argv[4:])
    )
