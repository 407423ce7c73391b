"""Reads an untrusted scene in a separate process first, so that a crash of the reader does not end the app.

That process may hold one file open at a time and write none, so that a file that reaches for another one fails there.
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

from NeuroSAM2Core.errors import DataError

LIMIT_S = 600.0
REFUSED = 3


class SceneSandbox:
    """A process that reads a scene; it gets ready while the scene is unpacked."""

    def __init__(self) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": paths},
        )

    def read(self, scene: Path, name: str, *, limit_s: float = LIMIT_S) -> None:
        """Reads a scene to its end.

        Args:
            scene: Of an unpacked bundle.
            name: What the person calls it.
            limit_s: For how long.

        Raises:
            DataError: It cannot be read.
        """
        try:
            self._process.communicate(os.fsencode(scene) + b"\n", timeout=limit_s)
        except (subprocess.TimeoutExpired, OSError) as error:
            raise DataError(f"{name} cannot be read: it takes longer than {limit_s:.0f} s") from error
        if code := self._process.returncode:
            reason = "Slicer refuses its scene" if code == REFUSED else f"it ends Slicer's reader (code {code})"
            raise DataError(f"{name} cannot be read: {reason}", hint="the file may be damaged; copy it again")

    def __enter__(self) -> "SceneSandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        with suppress(OSError):
            self._process.communicate()


def main() -> int:
    """Reads the scene that standard input names."""
    from NeuroSAM2Lib.headless.application import HeadlessApplication

    app = HeadlessApplication(Path.cwd())
    scene = Path(os.fsdecode(sys.stdin.buffer.readline().rstrip(b"\n")))
    if not scene.name:
        return REFUSED
    _bound()
    try:
        app.load_unpacked(scene)
    except DataError:
        return REFUSED
    return 0


def _bound() -> None:
    """One further file at a time, none written, no more memory than is free; where the system can be told so."""
    if sys.platform == "win32":  # it has no such limits
        return
    import resource

    memory = psutil.Process().memory_info().vms + psutil.virtual_memory().available
    highest = max(int(one.name) for one in Path("/dev/fd").iterdir())
    while (last := os.dup(0)) <= highest:  # numbers that are free below
        pass
    limits = {resource.RLIMIT_NOFILE: last + 2, resource.RLIMIT_FSIZE: 0}
    if sys.platform == "linux":
        limits[resource.RLIMIT_AS] = memory
    for kind, limit in limits.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))


if __name__ == "__main__":
    code = main()
    os._exit(code)  # nothing is worth tidying up
