"""The batches of a run, prepared ahead by worker processes.

A batch is a pure function of the seed and its number: a run that goes on needs to know nothing else. Every case is shown once before any
is shown again, over all processes together. A case that cannot be used gives its place to the next one, with a
warning that is counted, or stops the run.

Prepared volumes, kept in memory while they fit and, where asked, in a folder from run to run.

Files are safetensors, named after what they were made from; one that is damaged or out of date is made anew. They are mapped, not read:
a clip costs the slices that it shows, and however large a cohort is, the system takes back what lies in memory of it.
"""

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch.utils.data import Dataset

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import decoded, parse_json
from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.training.config.data import DataConfig, SamplingConfig
from NeuroSAM2Core.training.data.clip import ClipBatch, TrainingVolume, draw_clip
from NeuroSAM2Core.training.data.dataset import Case, ObjectMap, SkippedCases, find_objects, read_cases
from NeuroSAM2Core.training.data.loading import loaded
from NeuroSAM2Core.training.data.transforms import Augmentation, prepare
from NeuroSAM2Core.volume import Volume

logger = logging.getLogger(__name__)
FORMAT = 3
AREAS = ("areas_k", "areas_j", "areas_i")


class CaseCache:
    """Cases as they are asked for; the least recently used are evicted first.

    Args:
        load: Makes what is not there.
        max_bytes: Memory in memory; one case is always kept.
    """

    def __init__(self, load: Callable[[Case], TrainingVolume], *, max_bytes: int) -> None:
        self.load, self.max_bytes = load, max_bytes
        self._kept: OrderedDict[Case, TrainingVolume] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Memory that is taken."""
        return sum(volume.nbytes for volume in self._kept.values())

    def get(self, case: Case) -> TrainingVolume:
        """The prepared volume of a case."""
        if case not in self._kept:
            self._kept[case] = self.load(case)
        self._kept.move_to_end(case)
        while self.nbytes > self.max_bytes and len(self._kept) > 1:
            self._kept.popitem(last=False)
        return self._kept[case]


class CaseFolder:
    """Prepared volumes on disk.

    Args:
        folder: Made where it is missing.
        data: What a prepared volume depends on besides its files.
    """

    def __init__(self, folder: Path, data: DataConfig) -> None:
        self.folder, self.data = folder, data

    def path(self, case: Case) -> Path:
        """Where a case is kept: another file once the image, the label or the choice of objects has changed."""
        stamps = [(str(p.resolve()), s.st_mtime_ns, s.st_size) for p in (case.image, case.label) for s in (p.stat(),)]
        choice = (FORMAT, self.data.labels, self.data.classes, self.data.min_voxels)
        return self.folder / f"{hashlib.sha256(json.dumps([stamps, choice]).encode()).hexdigest()[:24]}.safetensors"

    def read(self, case: Case) -> TrainingVolume | None:
        """The volume, or None where it is not there or not whole."""
        try:
            path = self.path(case)
            if not path.exists():
                return None
            with safe_open(path, framework="pt") as file:  # as NumPy it would be copied
                names = decoded(tuple[str, ...], parse_json(file.metadata()["names"]), "names")
                image, numbers, matrix, k, j, i = (
                    file.get_tensor(name).numpy() for name in ("image", "numbers", "matrix", *AREAS)
                )
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        return TrainingVolume(Volume(image, matrix, name=case.name), ObjectMap(numbers, names), (k, j, i))

    def write(self, case: Case, volume: TrainingVolume) -> None:
        """Keeps a volume; a folder that cannot be written to is only warned about."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            arrays = {
                "image": np.ascontiguousarray(volume.image.voxels),
                "numbers": np.ascontiguousarray(volume.objects.numbers),
                "matrix": np.ascontiguousarray(volume.image.ijk_to_ras),
                **dict(zip(AREAS, volume.areas, strict=True)),
            }
            with disk.replaced_atomically(self.path(case)) as partial:
                save_file(arrays, partial, metadata={"names": json.dumps(volume.objects.names)})
        except (OSError, SafetensorError) as error:
            logger.warning("prepared volumes cannot be kept in %s: %s", self.folder, error)


MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPlan:
    """Everything that determines the batches of a run."""

    data: DataConfig
    sampling: SamplingConfig
    image_size: int
    """Side of the model's input, pixels."""
    seed: int


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
    """The batches of a run.

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

    def __getitem__(self, number: int) -> Prepared:
        plan = self.plan
        clips: list[ClipBatch] = []
        skipped: list[tuple[str, str]] = []
        for n in range(plan.sampling.clips):
            place = number * plan.sampling.clips + n
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


def batches(plan: BatchPlan, numbers: Iterable[int], *, workers: int, skipped: SkippedCases) -> Iterator[ClipBatch]:
    """The batches of some numbers, in order; cases that could not be used are added to `skipped`.

    Raises:
        DataError: A dataset file cannot be read, or a case cannot be used and the run is to stop, or none can.
    """
    cases = read_cases(plan.data.datasets, "training")
    clips = FineTuningClips(plan, cases, cache_bytes=plan.data.cache_mb * MIB // max(1, workers))
    return _unpacked(loaded(clips, numbers, workers=workers), skipped)


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
