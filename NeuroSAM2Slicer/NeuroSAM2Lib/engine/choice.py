"""The engine settings: where it runs, on which device, with which model; checked, and turned into a connection.

Starts programs beside the host: downloads, samples, training, comparisons, the engine. Independent of the scene.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Protocol

import slicer

from NeuroSAM2Core import disk, errors
from NeuroSAM2Core.decoding import DecodingError, decoded, parse_json
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.processes import ProcessTree, environment_for_another_python
from NeuroSAM2Core.remote import EngineClient, LoadModel
from NeuroSAM2Lib.i18n import tr as _


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


DEVICES = ("auto", "cuda", "mps", "cpu")
DEFAULT_MODEL = "nano"
PORTS = range(1, 65536)


class Place(Enum):
    """Where the engine runs."""

    SLICER = "slicer"
    INTERPRETER = "interpreter"
    REMOTE = "remote"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineChoice:
    """The engine settings of a user."""

    place: Place = Place.SLICER
    interpreter: str = ""
    """Path of another Python with torch, where that is the place."""
    host: str = "127.0.0.1"
    """Of a worker that was started by `neurosam2 serve`, or of this machine's end of a tunnel to it."""
    port: int = 0
    token: str = ""
    """What that worker printed when it started. Not remembered: it is a secret."""
    model: str = DEFAULT_MODEL
    """A name of the catalog, or the path of a model file on the machine where the engine runs."""
    device: str = "auto"

    def check(self) -> None:
        """Checks that the choice is complete.

        Raises:
            ConfigError: Something is missing or cannot be.
        """
        if self.place is Place.INTERPRETER and not self.interpreter:
            raise ConfigError(
                _("no interpreter is chosen"), hint=_("choose the python program of an environment with torch")
            )
        if self.place is Place.INTERPRETER and not disk.is_file(Path(self.interpreter)):
            raise ConfigError(
                _("there is no program {interpreter}").format(interpreter=self.interpreter),
                hint=_("choose the python program of an environment with torch"),
            )
        if self.place is Place.REMOTE and self.port not in PORTS:
            raise ConfigError(
                _("the port is {port}; expected 1 to 65535").format(port=self.port),
                hint=_("`neurosam2 serve` prints it"),
            )
        if self.place is Place.REMOTE and not self.token:
            raise ConfigError(_("the token is missing"), hint=_("`neurosam2 serve` prints it when it starts"))
        if self.device not in DEVICES:
            raise ConfigError(
                _("there is no device {device!r}").format(device=self.device),
                hint=_("one of: {devices}").format(devices=", ".join(DEVICES)),
            )
        if not self.model:
            raise ConfigError(_("no model is chosen"), hint=_("choose one from the list, or a file"))

    @property
    def load_model(self) -> LoadModel:
        """What the engine is told first."""
        return LoadModel(model=self.model, device=self.device)

    def connect(self, slicer_python: str | None) -> EngineClient:
        """A client of the chosen engine; starts it where it is on this machine. Does not wait.

        Args:
            slicer_python: The interpreter of Slicer's own Python.

        Raises:
            ConfigError: The choice is not complete.
            WorkerError: It cannot be started.
        """
        self.check()
        if self.place is Place.REMOTE:
            return EngineClient.connect(self.host, self.port, self.token)
        python = self.interpreter if self.place is Place.INTERPRETER else slicer_python
        return EngineClient.launch(python, environment=self.environment(slicer_python))

    def environment(self, slicer_python: str | None) -> dict[str, str]:
        """The variables that a program on this machine is started with: those of this process suit its own Python alone.

        Args:
            slicer_python: The interpreter of Slicer's own Python.
        """
        is_own = self.place is not Place.INTERPRETER or self.interpreter == slicer_python
        return dict(os.environ) if is_own else startup_environment()

    def command(self, slicer_python: str) -> tuple[str, ...]:
        """The start of a command that runs this copy of NeuroSAM2 where PyTorch is, on this machine: downloads, training.

        Args:
            slicer_python: The interpreter of Slicer's own Python; also where the engine runs on a server.
        """
        python = self.interpreter if self.place is Place.INTERPRETER else slicer_python
        return python, str(Path(errors.__file__).parent / "launch.py")

    def to_text(self) -> str:
        """For settings; without the token."""
        return json.dumps(asdict(self) | {"place": self.place.value, "token": ""})

    @classmethod
    def from_text(cls, text: str) -> "EngineChoice":
        """From settings; what cannot be read any more is as it is by default."""
        try:
            payload = parse_json(text or "{}")
        except DecodingError:
            return cls()
        if not isinstance(payload, dict):
            return cls()
        result = cls()
        for name in payload.keys() & {field.name for field in fields(cls)}:
            with suppress(DecodingError):  # the other settings are kept
                result = replace(result, **{name: getattr(decoded(cls, {name: payload[name]}, ""), name)})
        return result if result.port in PORTS else replace(result, port=0)
