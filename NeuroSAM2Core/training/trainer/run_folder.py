"""The run folder: all results of a run, and all that it needs to resume.

`config.toml` (as it was resolved), `metrics.jsonl`, `tensorboard/`, `curves.png`, `log.txt`, `skipped.jsonl` (cases that could not be
used), `checkpoints/` (the last ones and the best), and, once the run is over, `model.safetensors`. A file named `stop` asks it to save and
stop. Training and whoever watches it share nothing else. Every file is whole or not there, and only one run at a time is in a folder: it
holds a lock there, which the system releases when its process ends, however it does.
"""

import logging
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from safetensors.torch import save_file

from NeuroSAM2Core import disk
from NeuroSAM2Core.checkpoint import Checkpoint
from NeuroSAM2Core.checkpoint.checkpoint import replaced_atomically, write_atomically
from NeuroSAM2Core.errors import CheckpointError, ConfigError, DataError, NeuroSAM2Error
from NeuroSAM2Core.processes import STOP_FILE
from NeuroSAM2Core.training.config.toml_io import build, read_toml, to_toml
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.data.dataset import SKIPPED_FILE
from NeuroSAM2Core.training.trainer.recorder import CURVES_FILE, METRICS_FILE

logger = logging.getLogger(__name__)
T = TypeVar("T")

CONFIG_FILE = "config.toml"
LOG_FILE = "log.txt"
MODEL_FILE = "model.safetensors"
CHECKPOINTS = "checkpoints"
BEST = "best.safetensors"
WRITTEN = (CONFIG_FILE, METRICS_FILE, CURVES_FILE, MODEL_FILE, SKIPPED_FILE)
"""What a run replaces."""
STEP = re.compile(r"step-(\d+)\.safetensors")
KEPT = 2
LOCK_FILE = "run.lock"
LOCK_WAIT_S = 1.0
"""So long a new run waits for one that is about to end."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def model(self) -> Path:
        """The model that a finished run leaves."""
        return self.path / MODEL_FILE

    @property
    def best(self) -> Path:
        """The model that validated best."""
        return self.path / CHECKPOINTS / BEST

    @property
    def stop_file(self) -> Path:
        """Where this file is, the run saves and stops after the step that is running."""
        return self.path / STOP_FILE

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps all other runs out of the folder, which is made where it is missing, while the body runs.

        Raises:
            ConfigError: Another run is in it, or something in it is a link that leads elsewhere.
            DataError: The folder cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._check_links()
            lock = FileLock(self.path / LOCK_FILE, timeout=LOCK_WAIT_S)
            lock.acquire()
        except Timeout:
            raise ConfigError(
                f"another run is at work in {self.path}", hint="wait for its end, stop it, or name another run.folder"
            ) from None
        except NotImplementedError:
            logger.warning("%s is on a file system without locks: see to it that no other run uses it", self.path)
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        try:
            yield
        finally:
            lock.release()

    def claim(self, config: object, *, allow_resume: bool, changeable: Collection[str] = ()) -> None:
        """Claims the locked folder for this run, or checks that it is its own. A run that saved nothing may be replaced.

        Args:
            config: The resolved configuration.
            allow_resume: A folder that holds this very run is welcome.
            changeable: Settings, by their own word, that may differ from those the run began with.

        Raises:
            ConfigError: The folder holds another run, this one and that was not expected, or files of no run that would be replaced.
            DataError: The folder cannot be written to.
        """
        path = self.path / CONFIG_FILE
        is_taken = path.exists() and bool(self._saved())
        if not (self.path / CHECKPOINTS).is_dir():
            foreign = [name for name in WRITTEN if os.path.lexists(self.path / name)]
            if foreign:
                raise ConfigError(
                    f"{self.path} holds {', '.join(foreign)}, and no run that wrote it",
                    hint="name another run.folder, so that nothing is replaced",
                )
        if is_taken:
            if not allow_resume:
                raise ConfigError(
                    f"{self.path} holds a run already", hint="--resume goes on with it; or name another run.folder"
                )
            began_with = to_toml(_read_config(path, type(config)))
            difference = _first_difference(began_with, to_toml(config), but={*changeable, "folder"})
            if difference:
                raise ConfigError(
                    f"{self.path} holds a run with other settings: {difference}",
                    hint="choose another folder or delete this one",
                )
        try:
            (self.path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            for place in (self.path, self.path / CHECKPOINTS):
                for left in place.glob(f".*{disk.PARTIAL_SUFFIX}"):
                    disk.delete(left)
            (self.path / SKIPPED_FILE).unlink(missing_ok=True)  # a case may have been mended since
            if not is_taken or changeable:
                write_atomically(path, to_toml(config).encode())
        except (OSError, CheckpointError) as error:
            raise _cannot_write(self.path, error) from error

    @contextmanager
    def logged(self, *, rank: int = 0) -> Iterator[None]:
        """What the program says while the body runs also goes into the folder, and why it ended early.

        From ranks but the first, only errors.
        """
        handler = _LogFile(self.path / (f"log.rank{rank}.txt" if rank else LOG_FILE), delay=True, encoding="utf-8")
        handler.setLevel(logging.ERROR if rank else logging.INFO)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        package_logger = logging.getLogger("NeuroSAM2Core")
        before = package_logger.level
        package_logger.addHandler(handler)
        package_logger.setLevel(min(before or logging.WARNING, logging.INFO))
        try:
            yield
        except BaseException as error:
            trace = None if isinstance(error, NeuroSAM2Error) else sys.exc_info()
            handler.handle(
                package_logger.makeRecord(
                    package_logger.name, logging.ERROR, __file__, 0, "ended by: %s", (error,), trace
                )
            )
            raise
        finally:
            package_logger.setLevel(before)
            package_logger.removeHandler(handler)
            with suppress(OSError):
                handler.close()

    def save(self, checkpoint: Checkpoint, step: int) -> None:
        """Writes what the run goes on from; see `write`.

        Raises:
            CheckpointError: It cannot be written; the earlier ones are whole.
        """
        self.write(checkpoint.save, step)

    def write(self, save: Callable[[Path], None], step: int) -> None:
        """Writes what the run goes on from, then lets go of all but the last two; later steps, which were damaged, are void.

        Args:
            save: Writes it to a file.
            step: Optimiser steps done.

        Raises:
            CheckpointError: It cannot be written; the earlier ones are whole.
        """
        save(self.path / CHECKPOINTS / f"step-{step:08d}.safetensors")
        saved = self._saved()
        kept = [path for path in saved if _step_of(path) <= step][-KEPT:]
        for path in saved:
            if path not in kept:
                with suppress(OSError):
                    disk.delete(path)

    def newest(self) -> Checkpoint | None:
        """What the run goes on from; None at its start. See `read_newest`.

        Raises:
            CheckpointError: There are some, and none can be read.
        """
        return self.read_newest(lambda path: Checkpoint.load_verified(path, with_training=True))

    def read_newest(self, read: Callable[[Path], T]) -> T | None:
        """What is in the file that the run goes on from; None at its start. One that is damaged is skipped with a warning.

        Args:
            read: Reads a file, or raises a `CheckpointError` where it is damaged.

        Raises:
            CheckpointError: There are some, and none can be read.
        """
        saved = self._saved()
        for path in reversed(saved):
            try:
                return read(path)
            except CheckpointError as error:
                if path is saved[0]:
                    raise
                logger.warning("going back to an earlier checkpoint: %s", error.message)
        return None

    def load_best(self) -> Checkpoint | None:
        """The model that validated best; None where there is none. One that is damaged is skipped with a warning."""
        try:
            return Checkpoint.load_verified(self.best) if self.best.is_file() else None
        except CheckpointError as error:
            logger.warning("the best model is lost: %s", error.message)
            return None

    def restore_model(self) -> None:
        """Writes the model of a finished run again from its last checkpoint, and says so, where it is gone or damaged.

        Raises:
            CheckpointError: It cannot be written, or no checkpoint can be read.
        """
        try:
            Checkpoint.load_verified(self.model)
        except CheckpointError as error:
            newest = self.newest()
            if newest is None:
                raise
            replace(newest, training=None).save(self.model)
            logger.warning("the model of the finished run was written again: %s", error.message)

    def keep_batch(self, batch: ClipBatch, *, step: int, rank: int) -> Path:
        """Writes a batch for inspection."""
        path = self.path / f"bad_batch_step{step}_rank{rank}.safetensors"
        tensors = {"images": batch.images, "masks": batch.masks, "is_real": batch.is_real}
        with replaced_atomically(path) as partial:
            save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, partial)
        return path

    def _check_links(self) -> None:
        """Checks that nothing outside would be written or deleted through the folder, whoever made it."""
        home = self.path.resolve()
        for path in (*self.path.iterdir(), *(self.path / CHECKPOINTS).glob("*")):
            if path.is_symlink() and not path.resolve().is_relative_to(home):
                raise ConfigError(
                    f"{path} is a link that leads out of the run's folder",
                    hint="put what it leads to in its place; run.folder itself may be a link",
                )

    def _saved(self) -> list[Path]:
        """Oldest first."""
        return sorted(p for p in (self.path / CHECKPOINTS).glob("*.safetensors") if STEP.fullmatch(p.name))


class _LogFile(logging.FileHandler):
    """A file that may be cut short where the disk is full, or no file at all: the run itself says what matters."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line, where the file can be opened."""
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Nothing."""


def _read_config(path: Path, kind: type[T]) -> T:
    """The settings that a run began with; those that there were not yet have their defaults.

    Raises:
        ConfigError: They cannot be read any more.
    """
    try:
        return build(kind, read_toml(path))
    except ConfigError as error:
        raise ConfigError(
            f"{path} cannot be read: {error}", hint="put the file back as it was, or name another run.folder"
        ) from error


def _step_of(path: Path) -> int:
    match = STEP.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def _cannot_write(path: Path, error: Exception) -> DataError:
    return DataError(f"cannot write to {path}: {error}", hint="choose a folder that you may write to")


def _first_difference(there: str, here: str, *, but: Collection[str]) -> str:
    """The first line that two configurations do not share, but for some settings; empty if they are the same."""
    old, new = ([line for line in text.splitlines() if line.partition(" = ")[0] not in but] for text in (there, here))
    for line, other in zip(old, new, strict=False):
        if line != other:
            return f"{line!r} there, {other!r} now"
    return "" if len(old) == len(new) else "one has more settings"
