"""`make gpu`: all that only a GPU can tell, in one command of under ten minutes. Without a GPU it says so.

The parts run one after the other, each for as long as it may and time is left, and each writes its own table into benchmarks/README.md.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.gpu_tools import missing_packages

ROOT = Path(__file__).resolve().parents[1]
TOTAL_S = 580
TOOLS_S = 60
PARTS = {"benchmarks.gpu_components": 300, "benchmarks.gpu_speed": 90, "benchmarks.gpu_fine_tuning": 360}
"""Modules and the seconds they may take."""


def main() -> int:
    """Runs all parts, or says why not."""
    if not torch.cuda.is_available():
        print("gpu: skipped, this machine has no CUDA device that PyTorch can use")
        return 0
    until = time.monotonic() + TOTAL_S
    if missing := missing_packages(torch.version.cuda or ""):
        finished([sys.executable, "-m", "pip", "install", "--quiet", "--retries=0", "--timeout=10", *missing], TOOLS_S)
    done = [finished([sys.executable, "-m", name], min(s, until - time.monotonic())) for name, s in PARTS.items()]
    return 0 if all(done) else 1


def finished(command: list[str], limit_s: float) -> bool:
    """Runs a command and all it starts to its end, or kills them at the limit; whether it went well, which is printed if not."""
    output = " ".join(command[1:])
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        try:
            code = process.wait(timeout=max(limit_s, 0))
        except subprocess.TimeoutExpired:
            print(f"gpu: `{output}` was not through after {max(limit_s, 0):.0f} s", flush=True)
            return False
        finally:
            with contextlib.suppress(ProcessLookupError):  # what it has started is in a group with it
                os.killpg(process.pid, signal.SIGKILL)
    if code:
        print(f"gpu: `{output}` ended with {code}", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main())
