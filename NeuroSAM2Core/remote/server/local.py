"""A local worker: reads its token from standard input, prints its port, and ends with the program that started it."""

import argparse
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from NeuroSAM2Core.console import allow_any_character
from NeuroSAM2Core.processes import STOP_FILE, ProcessId
from NeuroSAM2Core.remote.server.limits import WorkerLimits
from NeuroSAM2Core.remote.server.options import add_limit_options, limits_of
from NeuroSAM2Core.remote.server.process import WorkerProcess, end_on_signals, end_with, leave, listen


def main(arguments: Sequence[str]) -> None:
    """Runs a local worker and ends the process."""
    parser = argparse.ArgumentParser(prog="neurosam2 worker")
    add_limit_options(parser)
    limits = limits_of(parser.parse_args(arguments))
    allow_any_character()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    payload = json.loads(sys.stdin.buffer.readline())
    run(payload["token"], Path(payload["folder"]), ProcessId(*payload["host"]), limits)


def run(token: str, folder: Path, host: ProcessId, limits: WorkerLimits) -> None:
    """Serves on loopback until the host is gone or asks it to end, then ends the process; the folder goes with it."""
    listener = listen("127.0.0.1", 0)
    worker = WorkerProcess(listener, token, limits, voxel_folder=folder)
    end_with(host, folder / STOP_FILE, worker.stop)
    end_on_signals(worker.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is meant for the host
    with contextlib.suppress(BrokenPipeError):  # the host is gone already, which `end_with` sees too
        print(json.dumps({"port": listener.getsockname()[1], "pid": os.getpid()}), flush=True)  # noqa: T201
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody reads on
    worker.run()
    shutil.rmtree(folder, ignore_errors=True)
    leave(worker.exit_code)
