"""Starts programs beside the host: downloads, samples, training, comparisons, the engine. Independent of the scene."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import slicer

from NeuroSAM2Core import disk
from NeuroSAM2Core.processes import ProcessTree, environment_for_another_python


class StartProgram(Protocol):
    """Starts a program."""

    def __call__(self, command: Sequence[str], log: Path, *, stop_file: Path | None = None) -> ProcessTree:
        """Starts it; see `ProcessTree.start`.

        Raises:
            WorkerError: There is no such program.
        """


def startup_environment() -> dict[str, str]:
    """The variables of this process for a program of another Python: Slicer's own ones would keep that from starting."""
    variables: Mapping[str, str] = os.environ
    if hasattr(getattr(slicer, "app", None), "startupEnvironment"):
        variables = {name: disk.from_utf8(value) for name, value in slicer.util.startupEnvironment().items()}
    return environment_for_another_python(variables)


def starter(environment: Mapping[str, str]) -> StartProgram:
    """Starts programs.

    Args:
        environment: All their variables.
    """
    return partial(ProcessTree.start, environment=environment)
