"""The batches of a run, prepared ahead by worker processes.

The batch of a step is a pure function of the seed, the step and the rank: a run that goes on needs to know nothing else. Every case is
shown once before any is shown again, over all ranks together. A case that cannot be used gives its place to the next one, with a warning
that is counted, or stops the run.
"""

import logging
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from NeuroSAM2Core.errors import ConfigError, DataError, NeuroSAM2Error
from NeuroSAM2Core.training.config.data import DataConfig, SamplingConfig
from NeuroSAM2Core.training.data.augmentation import Augmentation
from NeuroSAM2Core.training.data.cache import CaseCache, CaseFolder
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.data.clip_sampling import TrainingVolume, draw_clip
from NeuroSAM2Core.training.data.dataset_file import Case, read_cases
from NeuroSAM2Core.training.data.loading import loaded
from NeuroSAM2Core.training.data.objects import find_objects
from NeuroSAM2Core.training.data.skipped_cases import SkippedCases
from NeuroSAM2Core.training.data.transforms import prepare

logger = logging.getLogger(__name__)

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPlan:
    """Everything that determines the batches of one rank."""

    data: DataConfig
    sampling: SamplingConfig
    image_size: int
    """Side of the model's input, pixels."""
    seed: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ConfigError(f"rank {self.rank} is not one of {self.world_size}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """The result of a loader process: a batch, or an error as a value."""

    batch: ClipBatch | None
    skipped: tuple[tuple[str, str], ...] = ()
    """Cases that could not be used, each with the reason."""
    error: NeuroSAM2Error | None = None

    def share_memory(self) -> None:
        """Moves the batch to where other processes can have it."""
        if self.batch is not None:
            self.batch.share_memory()


class FineTuningClips(Dataset[Prepared]):
    """The batch of every step.

    Args:
        plan: What it follows from.
        cases: What clips are cut from.
        cache_bytes: Memory for prepared volumes in this process.
    """

    def __init__(self, plan: BatchPlan, cases: tuple[Case, ...], *, cache_bytes: int) -> None:
        self.plan, self.cases = plan, cases
        self.augmentation = Augmentation(plan.data.augmentation)
        self.cache = CaseCache(self._load, max_bytes=cache_bytes)
        self.folder = CaseFolder(Path(plan.data.cache_folder), plan.data) if plan.data.cache_folder else None

    def __getitem__(self, step: int) -> Prepared:
        plan = self.plan
        clips: list[ClipBatch] = []
        skipped: list[tuple[str, str]] = []
        for n in range(plan.sampling.clips):
            place = (step * plan.world_size + plan.rank) * plan.sampling.clips + n
            volume, failed = self._volume_at(place)
            skipped += [(case.name, str(error)) for case, error in failed]
            if volume is None:
                return Prepared(None, tuple(skipped), self._failure_message(failed))
            rng = np.random.default_rng((plan.seed, 1, place))
            drawn = draw_clip(volume, plan.data.axis, plan.sampling, plan.image_size, rng).clip
            images, masks = self.augmentation(drawn.images[0], drawn.masks[0], rng)
            clips.append(ClipBatch(images[None], masks[None]))
        return Prepared(ClipBatch.stack(clips), tuple(skipped))

    def _volume_at(self, place: int) -> tuple[TrainingVolume | None, list[tuple[Case, NeuroSAM2Error]]]:
        """The volume of a place in the endless row of cases, and the cases before it that could not be used."""
        count = len(self.cases)
        epoch, start = divmod(place, count)
        order = np.random.default_rng((self.plan.seed, 0, epoch)).permutation(count)
        failed: list[tuple[Case, NeuroSAM2Error]] = []
        for attempt in range(count):
            case = self.cases[order[(start + attempt) % count]]
            try:
                return self.cache.get(case), failed
            except NeuroSAM2Error as error:
                failed.append((case, error))
                if self.plan.data.on_bad_case == "stop":
                    break
        return None, failed

    def _failure_message(self, failed: list[tuple[Case, NeuroSAM2Error]]) -> DataError:
        case, error = failed[-1]
        if self.plan.data.on_bad_case == "stop":
            return DataError(f"the case {case.name} cannot be used: {error}", hint='data.on_bad_case = "skip" goes on')
        return DataError(
            f"none of the {len(self.cases)} cases can be used; the last one is {case.name}: {error}",
            hint="`neurosam2 train --check` names the reason for each",
        )

    def _load(self, case: Case) -> TrainingVolume:
        kept = self.folder.read(case) if self.folder else None
        if kept is not None:
            return kept
        prepared = prepare(case)
        volume = TrainingVolume.of(prepared.image, find_objects(prepared.labels, self.plan.data))
        if self.folder:
            self.folder.write(case, volume)
        return volume


def batches(plan: BatchPlan, *, start: int, stop: int, workers: int, skipped: SkippedCases) -> Iterator[ClipBatch]:
    """The batches of the steps from `start` up to and without `stop`; cases that could not be used are added to `skipped`.

    Raises:
        DataError: A dataset file cannot be read, or a case cannot be used and the run is to stop, or none can.
    """
    cases = read_cases(plan.data.datasets, "training")
    clips = FineTuningClips(plan, cases, cache_bytes=plan.data.cache_mb * MIB // max(1, workers))
    return _unpacked(loaded(clips, range(start, stop), workers=workers), skipped)


def _unpacked(items: Generator[Prepared, None, None], skipped: SkippedCases) -> Iterator[ClipBatch]:
    with closing(items):
        for prepared in items:
            for case, reason in prepared.skipped:
                if skipped.add(case, reason):
                    logger.warning("skipped the case %s (%d bad so far): %s", case, len(skipped.found), reason)
            if prepared.error is not None:
                raise prepared.error
            assert prepared.batch is not None
            yield prepared.batch
