"""The engine settings: where it runs, on which device, with which model; checked, and turned into a connection.

Programs beside the host are started here: downloads, samples, training, comparisons, the engine. Where the engine runs in Slicer's
Python, `install_plan` says what is missing and what the next step is; the engine runs in a process of its own, and nothing that is
installed is ever imported into Slicer. Independent of the scene.
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


TORCH = "torch"
PACKAGES = {
    "numpy": "numpy>=1.26",
    "scipy": "scipy>=1.11",
    "safetensors": "safetensors>=0.4.3",
    "jaxtyping": "jaxtyping>=0.2.34",
    "psutil": "psutil>=5.9",
}
"""Modules that the engine imports besides torch, and how they are asked for."""
TRAINING_PACKAGES = PACKAGES | {
    "nibabel": "nibabel>=5.2",
    "isal": "isal>=1.6",
    "tqdm": "tqdm>=4.66",
    "filelock": "filelock>=3.12",
    "psutil": "psutil>=5.9",
    "monai": "monai>=1.4",
    "matplotlib": "matplotlib>=3.8",
}
"""The same for training, which reads and writes files besides."""
LOCKER = "filelock"
"""Tells whether the host that left unsaved work still lives; it comes with torch."""
STARTER = "psutil"
"""Starts and ends programs, wherever the engine of this machine runs."""
WRITER = "nibabel"
"""Writes cases into files."""
OLDEST = (3, 11)


class Step(Enum):
    """The next installation step."""

    NOTHING = "nothing"
    EXTENSION = "install the PyTorch extension"
    RESTART = "restart"
    TORCH = "install torch"
    PACKAGES = "install packages"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What is installed."""

    place: Place = Place.SLICER
    """Where the person wants the engine to run."""
    modules: frozenset[str] = frozenset()
    """Of those that are needed, the ones that Slicer's Python has."""
    python: tuple[int, int] = OLDEST
    has_extension: bool = False
    """The PyTorch extension is loaded."""
    is_restart_due: bool = False
    """It was installed, and comes with the next start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallPlan:
    """The next step."""

    step: Step
    sentence: str
    """What is missing; empty where nothing is."""
    button: str = ""
    question: str = ""
    """What the person must agree to before it; with its size."""
    requirements: tuple[str, ...] = ()
    """What pip is asked for, where the step is to install packages."""


READY = InstallPlan(step=Step.NOTHING, sentence="")


def install_plan(found: Found, packages: Mapping[str, str] = PACKAGES) -> InstallPlan:
    """The one next step towards an engine that runs.

    Args:
        found: What is installed.
        packages: What is needed besides torch.
    """
    if found.place is Place.REMOTE:
        return READY
    if found.place is Place.INTERPRETER:
        return _own_packages(found, STARTER, LOCKER)
    if found.python < OLDEST:
        major, minor = found.python
        return InstallPlan(
            step=Step.NOTHING,
            sentence=_(
                "This Slicer has Python {major}.{minor}; the engine needs 3.11 or later. Update Slicer, or choose another "
                "interpreter under Engine."
            ).format(major=major, minor=minor),
        )
    if TORCH in found.modules:
        missing = {name: packages[name] for name in packages if name not in found.modules}
        return _packages(missing) if missing else READY
    if found.is_restart_due:
        return InstallPlan(
            step=Step.RESTART,
            sentence=_("The PyTorch extension is installed. Restart Slicer to go on."),
            button=_("Restart Slicer"),
            question=_(
                "Slicer will restart. Save your work first. Afterwards this panel shows the next step. Restart now?"
            ),
        )
    if not found.has_extension:
        return InstallPlan(
            step=Step.EXTENSION,
            sentence=_("The engine needs PyTorch, which the PyTorch extension installs."),
            button=_("Install PyTorch extension"),
            question=_(
                "Install the PyTorch extension? It is below 1 MB and takes a restart of Slicer. PyTorch itself comes after that."
            ),
        )
    return InstallPlan(
        step=Step.TORCH,
        sentence=_("The engine needs PyTorch."),
        button=_("Install PyTorch"),
        question=_(
            "Download and install PyTorch into Slicer's Python? It takes 200 MB to 3 GB, the most with an NVIDIA card, and a "
            "few minutes. Slicer does not react meanwhile."
        ),
    )


def training_plan(found: Found) -> InstallPlan:
    """The one next step towards training; wherever it runs, it is started, and cases are written, by Slicer's own Python."""
    if found.place is Place.SLICER:
        return install_plan(found, TRAINING_PACKAGES)
    return _own_packages(found, STARTER, LOCKER, WRITER)


def _own_packages(found: Found, *names: str) -> InstallPlan:
    """What Slicer's own Python lacks where the engine runs in another."""
    missing = {name: TRAINING_PACKAGES[name] for name in names if name not in found.modules}
    return _packages(missing) if missing else READY


def _packages(missing: Mapping[str, str]) -> InstallPlan:
    return InstallPlan(
        step=Step.PACKAGES,
        sentence=_("Still needed: {missing}.").format(missing=", ".join(missing)),
        button=_("Install packages"),
        question=_("Download and install {missing} into Slicer's Python? They take below 100 MB.").format(
            missing=", ".join(missing)
        ),
        requirements=tuple(missing.values()),
    )
