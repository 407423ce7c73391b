"""Workers that start at once: a warm process that has loaded everything forks them, so that many can be killed.

Run as a program it is that process: each line on its standard input asks for a worker and is answered with the worker's port and id.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class WarmProcess:
    """Forks workers on demand. They end when it does."""

    def __init__(self, token):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "Testing.Support.forked", token],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            encoding="utf-8",
        )

    def fork(self):
        """The port and the process id of a new worker."""
        self._process.stdin.write("one\n")
        self._process.stdin.flush()
        port, pid = self._process.stdout.readline().split()
        return int(port), int(pid)

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def main():
    import signal
    import threading

    import torch

    import NeuroSAM2Core.remote.server.job_runner  # noqa: F401  (the slow part, once)
    from NeuroSAM2Core import load_model
    from NeuroSAM2Core.inference.precision import fastest_dtype
    from NeuroSAM2Core.remote.server.options import WorkerLimits
    from NeuroSAM2Core.remote.server.process import WorkerProcess, leave, listen

    torch.set_num_threads(1)
    load_model("nano", device="cpu")  # what is only slow the first time
    fastest_dtype(torch.device("cpu"))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    end, keep_open = os.pipe()
    for _ in sys.stdin:
        listener = listen("127.0.0.1", 0)
        pid = os.fork()
        if pid == 0:
            os.close(keep_open)
            worker = WorkerProcess(listener, sys.argv[1], WorkerLimits())
            threading.Thread(target=lambda w=worker: (os.read(end, 1), w.stop()), daemon=True).start()
            worker.run()
            leave(0)
        sys.stdout.write(f"{listener.getsockname()[1]} {pid}\n")
        sys.stdout.flush()
        listener.close()


if __name__ == "__main__":
    main()
