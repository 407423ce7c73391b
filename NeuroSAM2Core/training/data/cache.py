"""Prepared volumes, kept in memory while they fit and, where asked, in a folder from run to run.

Files are safetensors, named after what they were made from; one that is damaged or out of date is made anew.
"""

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import decoded, parse_json
from NeuroSAM2Core.training.config.data import DataConfig
from NeuroSAM2Core.training.data.clip_sampling import TrainingVolume
from NeuroSAM2Core.training.data.dataset_file import Case
from NeuroSAM2Core.training.data.objects import ObjectMap
from NeuroSAM2Core.volume import Volume

logger = logging.getLogger(__name__)

FORMAT = 2


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
            with safe_open(path, framework="np") as file:
                names = decoded(tuple[str, ...], parse_json(file.metadata()["names"]), "names")
                image, numbers, matrix = (file.get_tensor(name) for name in ("image", "numbers", "matrix"))
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        return TrainingVolume.of(Volume(image, matrix, name=case.name), ObjectMap(numbers, names))

    def write(self, case: Case, volume: TrainingVolume) -> None:
        """Keeps a volume; a folder that cannot be written to is only warned about."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            arrays = {
                "image": np.ascontiguousarray(volume.image.voxels),
                "numbers": np.ascontiguousarray(volume.objects.numbers),
                "matrix": np.ascontiguousarray(volume.image.ijk_to_ras),
            }
            with disk.replaced_atomically(self.path(case)) as partial:
                save_file(arrays, partial, metadata={"names": json.dumps(volume.objects.names)})
        except (OSError, SafetensorError) as error:
            logger.warning("prepared volumes cannot be kept in %s: %s", self.folder, error)
