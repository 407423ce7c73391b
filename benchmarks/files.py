"""From files to what is worked on: a model that is ready, a volume that is normalised."""

import statistics
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import torch

from benchmarks.pair import NAME, our_model
from benchmarks.report import HEAD, as_table, beside, seconds
from NeuroSAM2Core import Volume, load_model
from NeuroSAM2Core.checkpoint import Checkpoint, Provenance
from NeuroSAM2Core.model import PRESETS
from NeuroSAM2Core.volume import percentile_window


def measure() -> str:
    """The table of this file."""
    rows = [loading("0.25 s"), reading(".nii", "4x"), reading(".nii.gz", "2x")]
    for row in rows:
        print(*row, sep=" | ", flush=True)
    return as_table(HEAD, rows)


def loading(must: str) -> tuple[str, ...]:
    """The tiny model, from a file to ready."""
    import sam2  # noqa: F401  (tells hydra where its configurations lie)
    from hydra import compose
    from hydra.utils import instantiate

    with tempfile.TemporaryDirectory() as folder:
        state = our_model(1024).state_dict()
        ours, theirs = Path(folder) / "a.safetensors", Path(folder) / "a.pt"
        Checkpoint(PRESETS[NAME], state, Provenance(name="a")).save(ours)
        torch.save({"model": state}, theirs)

        def reference() -> None:
            config = compose(config_name=f"configs/sam2.1/{NAME}.yaml")
            model = instantiate(config.model, _recursive_=True)
            model.load_state_dict(torch.load(theirs, weights_only=True)["model"])
            model.eval()

        a = statistics.median(seconds(reference) for _ in range(5))
        b = statistics.median(seconds(lambda: load_model(str(ours), device="cpu")) for _ in range(5))
    return beside("load the tiny model", a, b, unit="s", target=must)


def reading(suffix: str, must: str) -> tuple[str, ...]:
    """A 256 x 256 x 180 float32 volume, read and normalised; the usual MONAI chain is the reference."""
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, ScaleIntensityRangePercentilesd

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        voxels = np.random.default_rng(0).normal(100, 30, (256, 256, 180)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
        chain = Compose(
            [
                LoadImaged("image"),
                EnsureChannelFirstd("image"),
                ScaleIntensityRangePercentilesd("image", 0.5, 99.5, 0, 1, clip=True),
            ]
        )

        def ours() -> None:
            volume = Volume.read(path)
            window = percentile_window(volume.voxels)
            for one in volume.voxels:
                window.normalise(one)

        chain({"image": str(path)})
        a = statistics.median(seconds(lambda: chain({"image": str(path)})) for _ in range(5))
        b = statistics.median(seconds(ours) for _ in range(5))
    return beside(f"read and normalise 256 x 256 x 180 {suffix} (MONAI)", 1000 * a, 1000 * b, target=must)
