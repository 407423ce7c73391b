"""The two that are compared: the reference and this engine, with the same weights, volume and first prompt."""

import numpy as np
import torch
from torch import nn

from NeuroSAM2Core import EngineOptions, Session, Volume
from NeuroSAM2Core.model import PRESETS, SAM2
from NeuroSAM2Core.volume import percentile_window
from Testing.Support.reference import ReferenceVideo, shapes_of
from Testing.Support.weights import lively_state

NAME = "sam2.1_hiera_t"
SIDE = 256
BOX = (60, 50, 190, 200)
AXIAL = "axial"
OPTIONS = EngineOptions(is_exact=True, enforce_clicks=False, stop_after_absent=None, max_hole_area=0, min_island_area=0)


def our_model(size: int) -> SAM2:
    """The tiny model with the weights that the reference has too."""
    model = SAM2(PRESETS[NAME])
    model.load_state_dict(lively_state(shapes_of(model)))
    model.set_image_size(size)
    return model.eval()


def ours(model: SAM2, volume: Volume, options: EngineOptions = OPTIONS, *, index: int = 0) -> Session:
    """A session with a box on a slice."""
    session = Session(model, volume, options=options)
    session.add_box(1, AXIAL, index, BOX)
    return session


def theirs(predictor: nn.Module, volume: Volume, size: int, *, index: int = 0) -> ReferenceVideo:
    """The same in the reference, from the voxels on."""
    run = ReferenceVideo(predictor, load_as_reference(volume, size), SIDE, SIDE, half_memory=True)
    run.add(index, 1, box=(BOX[1], BOX[0], BOX[3], BOX[2]))
    return run


def load_as_reference(volume: Volume, size: int) -> torch.Tensor:
    """Every slice as the reference loads a video: 8-bit RGB pictures, resized by Pillow, all at once."""
    from PIL import Image

    window = percentile_window(volume.voxels)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    frames = torch.zeros(len(volume.voxels), 3, size, size)
    for frame, one in zip(frames, volume.voxels, strict=True):
        picture = Image.fromarray((255 * window.normalise(one)).astype(np.uint8)).convert("RGB").resize((size, size))
        frame.copy_(torch.from_numpy(np.array(picture) / 255.0).permute(2, 0, 1))
    return frames.sub_(mean).div_(std)


def drain(session: Session) -> None:
    """Propagates to the end."""
    for _ in session.propagate(1):
        pass
