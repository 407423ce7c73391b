"""A run's folder: all that a run leaves behind, and all that it needs to go on.

`config.toml` (as it was resolved), `metrics.jsonl`, `tensorboard/`, `curves.png`, `log.txt`, `checkpoints/` (the last ones and the best),
and, once the run is over, `model.safetensors`. Training and whoever watches it share nothing else. Every file is whole or not there.
"""

import logging
import os
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from NeuroSAM2Core.checkpoint import Checkpoint
from NeuroSAM2Core.checkpoint.checkpoint import replaced_atomically, write_atomically
from NeuroSAM2Core.errors import CheckpointError, ConfigError, DataError, NeuroSAM2Error
from NeuroSAM2Core.outputs import PARTIAL_SUFFIX
from NeuroSAM2Core.train.clip import ClipBatch
from NeuroSAM2Core.train.curves import CURVES_FILE
from NeuroSAM2Core.train.recorder import METRICS_FILE

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.toml"
LOG_FILE = "log.txt"
MODEL_FILE = "model.safetensors"
CHECKPOINTS = "checkpoints"
BEST = "best.safetensors"
WRITTEN = (CONFIG_FILE, METRICS_FILE, CURVES_FILE, MODEL_FILE)
"""What a run replaces."""
STEP = re.compile(r"step-(\d+)\.safetensors")
KEPT = 2


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where one run lives."""

    path: Path

    @property
    def model(self) -> Path:
        """The model that a finished run leaves."""
        return self.path / MODEL_FILE

    @property
    def best(self) -> Path:
        """The model that validated best."""
        return self.path / CHECKPOINTS / BEST

    def claim(self, config: str, *, may_go_on: bool, changeable: Collection[str] = ()) -> None:
        """Makes the folder this run's own, or checks that it is. A run that saved nothing yet gives way to any other.

        Args:
            config: The resolved configuration as TOML.
            may_go_on: A folder that holds this very run is welcome.
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
            if not may_go_on:
                raise ConfigError(
                    f"{self.path} holds a run already", hint="--resume goes on with it; or name another run.folder"
                )
            told = _first_difference(path.read_text(), config, but={*changeable, "folder"})
            if told:
                raise ConfigError(
                    f"{self.path} holds a run with other settings: {told}",
                    hint="choose another folder or delete this one",
                )
        try:
            (self.path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            for left in (*self.path.glob(f".*{PARTIAL_SUFFIX}"), *self.path.glob(f"*/.*{PARTIAL_SUFFIX}")):
                left.unlink()
            if not is_taken or changeable:
                write_atomically(path, config.encode())
        except (OSError, CheckpointError) as error:
            raise DataError(
                f"cannot write to {self.path}: {error}", hint="choose a folder that you may write to"
            ) from error

    @contextmanager
    def logged(self, *, rank: int = 0) -> Iterator[None]:
        """What the program says while the body runs also goes into the folder, and why it ended early.

        From ranks but the first, only errors.
        """
        handler = logging.FileHandler(self.path / (f"log.rank{rank}.txt" if rank else LOG_FILE), delay=True)
        handler.setLevel(logging.ERROR if rank else logging.INFO)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        room = logging.getLogger("NeuroSAM2Core")
        before = room.level
        room.addHandler(handler)
        room.setLevel(min(before or logging.WARNING, logging.INFO))
        try:
            yield
        except BaseException as error:
            trace = None if isinstance(error, NeuroSAM2Error) else sys.exc_info()
            handler.handle(room.makeRecord(room.name, logging.ERROR, __file__, 0, "ended by: %s", (error,), trace))
            raise
        finally:
            room.setLevel(before)
            room.removeHandler(handler)
            handler.close()

    def save(self, checkpoint: Checkpoint, step: int) -> None:
        """Writes what the run goes on from, then lets go of what is older than the last two.

        Raises:
            CheckpointError: It cannot be written; the earlier ones are whole.
        """
        checkpoint.save(self.path / CHECKPOINTS / f"step-{step:08d}.safetensors")
        for old in self._saved()[:-KEPT]:
            with suppress(OSError):
                old.unlink()

    def newest(self) -> Checkpoint | None:
        """What the run goes on from; None at its start. One that cannot be read is passed over, and said so.

        Raises:
            CheckpointError: There are some, and none can be read.
        """
        saved = self._saved()
        for path in reversed(saved):
            try:
                return Checkpoint.load(path, with_training=True)
            except CheckpointError as error:
                if path is saved[0]:
                    raise
                logger.warning("going back to an earlier checkpoint: %s", error.message)
        return None

    def keep_batch(self, batch: ClipBatch, *, step: int, rank: int) -> Path:
        """Writes a batch for inspection."""
        path = self.path / f"bad_batch_step{step}_rank{rank}.safetensors"
        tensors = {"images": batch.images, "masks": batch.masks, "is_real": batch.is_real}
        with replaced_atomically(path) as partial:
            save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, partial)
        return path

    def _saved(self) -> list[Path]:
        """Oldest first."""
        return sorted(p for p in (self.path / CHECKPOINTS).glob("*.safetensors") if STEP.fullmatch(p.name))


def _first_difference(there: str, here: str, *, but: Collection[str]) -> str:
    """The first line that two configurations do not share, but for some settings; empty if they are the same."""
    old, new = ([line for line in text.splitlines() if line.partition(" = ")[0] not in but] for text in (there, here))
    for line, other in zip(old, new, strict=False):
        if line != other:
            return f"{line!r} there, {other!r} now"
    return "" if len(old) == len(new) else "one has more settings"
