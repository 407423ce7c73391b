"""What is missing for the engine to run in Slicer's Python, and the next installation step. Pure.

The engine runs in a process of its own; nothing that is installed here is ever imported into Slicer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from NeuroSAM2Lib.engine.choice import Place
from NeuroSAM2Lib.i18n import tr as _

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
