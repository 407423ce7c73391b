"""Sound files of every kind that the app and the command line read, and the reading of one as they do it; what `fuzz` stands on."""

import gzip
import io
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import slicer
import torch
import vtk
from NeuroSAM2Lib.headless.application import HeadlessApplication
from NeuroSAM2Lib.scene.arrays import set_voxels
from NeuroSAM2Lib.scene.files.bundle import unpack_bundle
from NeuroSAM2Lib.scene.volume_nodes import add_volume
from NeuroSAM2Lib.training.cases import CaseList
from NeuroSAM2Lib.training.run import RunReader

from benchmarks.damage import CASE, Content, Files
from NeuroSAM2Core.checkpoint import load_checkpoint
from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Core.training.config.data import DataConfig, SamplingConfig
from NeuroSAM2Core.training.config.fine_tuning import load_config
from NeuroSAM2Core.training.data.check import check_datasets
from NeuroSAM2Core.training.fine_tune import fine_tune
from NeuroSAM2Core.training.trainer import loop
from NeuroSAM2Core.training.trainer.recorder import read_metrics
from NeuroSAM2Core.volume import Volume, percentile_window
from Testing.Support.cases import write_dataset
from Testing.Support.files import published_shapes
from Testing.Support.node_files import read_nrrd, read_segmentation, write_segmentation
from Testing.Support.training import disc_batches, mini_config

NRRD = b"NRRD0004\ntype: %s\ndimension: 3\nsizes: 6 5 4\nencoding: %s\nendian: little\n%s\n"
KEPT_OF_A_RUN = (
    "config.toml",
    "metrics.jsonl",
    "log.txt",
    "run.lock",
    "model.safetensors",
    "checkpoints/*.safetensors",
)
STEPS = 3


class Reader:
    """Reads files as the app and the command line do.

    Args:
        root: Holds the folders `home` and `files`.
    """

    def __init__(self, root: Path) -> None:
        torch.set_num_threads(1)
        loop.plot_curves = lambda folder: None  # which takes longer than all else
        self.root = root
        self.app = HeadlessApplication(root / "home")
        with tempfile.TemporaryDirectory(dir=root / "files") as folder:
            made = Path(folder)
            self.sound: Mapping[str, list[Files]] = {
                **_images_and_scenes(self.app, made),
                **_models(root / "files" / CASE),
                "dataset.json": [_dataset(made / "dataset")],
            }

    def place(self, files: Mapping[str, Content]) -> Path:
        """Puts files into a folder that holds nothing else."""
        folder = self.root / "files" / CASE
        shutil.rmtree(folder, ignore_errors=True)
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(content) if isinstance(content, Path) else path.write_bytes(content)
        folder.mkdir(exist_ok=True)
        return folder

    def read(self, kind: str, folder: Path, *, on_scene: Callable[[], None]) -> None:
        """Reads what a folder holds.

        Args:
            kind: What it is said to be.
            folder: Holds the files.
            on_scene: Called before a scene is read, which may end the process: the app tries it in another one first.

        Raises:
            NeuroSAM2Error: It cannot be read.
        """
        if kind == ".nii":
            volume = Volume.read(folder / "a.nii")
            percentile_window(volume.voxels)
            add_volume(self.app.scene, volume, "a")
            volume.with_voxels(np.ones(volume.shape, np.uint8)).write(folder / "mask.nii.gz")
        elif kind == ".nrrd":
            read_nrrd(self.app.scene, folder / "a.nrrd", "a")
        elif kind == ".seg.nrrd":
            read_segmentation(self.app.scene, folder / "a.seg.nrrd", "a")
        elif kind == ".mrb":
            with tempfile.TemporaryDirectory() as unpacked:
                scene = unpack_bundle(folder / "a.mrb", Path(unpacked))
                on_scene()
                self.app.load_unpacked(scene)
        elif kind in (".safetensors", ".pt"):
            checkpoint = load_checkpoint(folder / f"a{kind}")
            if kind == ".safetensors":
                checkpoint.build_model()
        elif kind == "dataset.json":
            CaseList(folder).read()
            check_datasets(DataConfig(datasets=(str(folder / "dataset.json"),)), SamplingConfig(slices=3))
        else:
            self._go_on(folder)

    def forget(self) -> None:
        """Empties the scene."""
        self.app.scene.Clear(0)

    def _go_on(self, folder: Path) -> None:
        """The panel looks at a run, and the run goes on."""
        reader = RunReader(folder)
        _ = reader.num_steps, reader.start_model, reader.is_over, reader.step, reader.model
        with suppress(OSError):  # which the panel and the curves say
            reader.read_news()
        with suppress(OSError):
            read_metrics(folder / "metrics.jsonl")
        config = mini_config(folder, steps=STEPS)
        damaged = None
        try:
            load_config(str(folder / "config.toml"))
        except NeuroSAM2Error as error:
            damaged = error
        fine_tune(config, torch.device("cpu"), batches=disc_batches(slices=2), resume=True)
        if damaged is not None:
            raise damaged


def _images_and_scenes(app: HeadlessApplication, folder: Path) -> dict[str, list[Files]]:
    voxels = np.arange(120, dtype="<i2")
    directions = (
        b"space directions: (1,0,0) (0,0.9,0.1) (0,-0.1,2)\nspace origin: (1,2,3)\nkinds: domain domain domain\n"
    )
    images = [
        NRRD % (b"short", b"raw", b"space: left-posterior-superior\n" + directions) + voxels.tobytes(),
        NRRD % (b"short", b"gzip", b"space dimension: 3\n" + directions) + gzip.compress(voxels.tobytes()),
        NRRD % (b"short", b"raw", b'spacings: 1 1 2\naxis mins: 0 0 0\nunits: "mm" "mm" "mm"\n') + voxels.tobytes(),
        NRRD % (b"float", b"text", b"byte skip: 0\nold min: 0\n") + " ".join(map(str, voxels)).encode(),
    ]
    volume = add_volume(app.scene, Volume(voxels.reshape(4, 5, 6), np.diag((1.0, 1.0, 2.0, 1.0))), "T1")
    node = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for label in (1, 2):
        image = slicer.vtkOrientedImageData()
        set_voxels(image, (voxels.reshape(4, 5, 6) % 3 == label).astype(np.uint8))
        segment = slicer.vtkSegment()
        segment.SetName(f"object {label}")
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment)
    write_segmentation(node, folder / "a.seg.nrrd")
    transform = app.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    app.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points").AddControlPoint(1, 2, 3)
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    app.scene.AddNewNodeByClass("vtkMRMLModelNode", "model").SetAndObservePolyData(sphere.GetOutput())
    app.scene.AddNewNodeByClass("vtkMRMLTextNode", "text").SetText("words")
    app.save(folder / "a.mrb")
    app.scene.Clear(0)
    plain = Volume(voxels.reshape(4, 5, 6), np.diag((1.0, 0.9, 2.0, 1.0)))
    for name in ("a.nii", "a.nii.gz"):
        plain.write(folder / name)
    packed = gzip.compress((folder / "a.nii").read_bytes())
    return {
        ".nii": [{"a.nii": content} for content in ((folder / "a.nii").read_bytes(), packed)],
        ".nrrd": [{"a.nrrd": content} for content in images],
        ".seg.nrrd": [{"a.seg.nrrd": (folder / "a.seg.nrrd").read_bytes()}],
        ".mrb": [{"a.mrb": (folder / "a.mrb").read_bytes()}],
    }


def _models(case: Path) -> dict[str, list[Files]]:
    """A model of ours, files of others, and a run that was stopped before its last step, and one that is over."""
    config, device = mini_config(case, steps=STEPS), torch.device("cpu")
    runs = []
    for _ in range(STEPS):
        fine_tune(config, device, batches=disc_batches(slices=2), resume=True, max_seconds=1e-6)
        found = [path for pattern in KEPT_OF_A_RUN for path in case.glob(pattern)]
        runs.append({path.relative_to(case).as_posix(): path.read_bytes() for path in found})
    weights = {key: torch.tensor(0.25).expand(shape) for key, shape in published_shapes("sam2.1_hiera_t").items()}
    foreign = []
    for content, is_packed in (({"model": weights}, True), ({"state_dict": weights}, False), (weights, True)):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=is_packed)
        foreign.append(buffer.getvalue())
    return {
        ".safetensors": [{"a.safetensors": (case.parent / "mini.safetensors").read_bytes()}],
        ".pt": [{"a.pt": content} for content in foreign],
        "run folder": runs[1:],
    }


def _dataset(folder: Path) -> Files:
    folder.mkdir()
    write_dataset(folder, training=2, validation=1, shape=(6, 20, 18))
    return {path.name: path.read_bytes() for path in folder.iterdir()}
