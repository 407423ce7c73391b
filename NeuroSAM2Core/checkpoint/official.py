"""Model files of others: Meta's SAM 2 and 2.1, MedSAM2, Medical-SAM2 and NeuroSAM2D.

All hold the same keys. Which size and version it is follows from the tensors. Only data is loaded, never code.

Source: the key lists in Testing/Data/sam2_keys; Ma et al., "MedSAM2", 2025; Zhu et al., "Medical SAM 2", 2024.
"""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from NeuroSAM2Core import disk
from NeuroSAM2Core.checkpoint.checkpoint import Checkpoint, Provenance
from NeuroSAM2Core.checkpoint.lora import merge_lora
from NeuroSAM2Core.errors import CheckpointError
from NeuroSAM2Core.model import PRESETS, SAM2Config

OFFICIAL_SUFFIXES = (".pt", ".pth")
CONTAINER_KEYS = ("model", "state_dict")
TRUNK = "image_encoder.trunk."
NEW_IN_2_1 = ("no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias")
KNOWN_FOREIGN = {
    "image_encoder.blocks.0.attn.rel_pos_h": "a SAM 1 model (SAM, MedSAM); its image encoder is another one",
    "image_encoder.patch_embed.proj.weight": "a SAM 1 model (SAM, MedSAM); its image encoder is another one",
    "image_encoder.trunk.patch_embed.proj.conv.weight": "an EfficientTAM model; its image encoder is another one",
    "image_encoder.trunk.blocks.0.ls1.gamma": "an EfficientTAM model; its image encoder is another one",
    "image_encoder.trunk.cls_token": "an EfficientTAM model; its image encoder is another one",
}


def read_official(path: Path, *, image_size: int | None = None, lora_alpha: float | None = None) -> Checkpoint:
    """The model in a `.pt` or `.pth` file.

    Args:
        path: The file.
        image_size: Side of the input the model was trained for; guessed from the file's name if None.
        lora_alpha: Scale of low-rank adapters, where the file has any; NeuroSAM2D's default if None.

    Raises:
        CheckpointError: The file is missing, damaged, holds code, or is not a SAM 2 model.
    """
    state = _clean(_container(path))
    state = merge_lora(state, alpha=lora_alpha)
    name, config = _architecture(state, path)
    config = replace(config, image_size=image_size or _guessed_size(path, config))
    return Checkpoint(config, state, Provenance(name=path.stem, source=path.name, notes=f"recognised as {name}"))


def _container(path: Path) -> Mapping[str, Any]:
    """The dict of tensors inside the file, whatever it is wrapped in."""
    path = disk.extended(path)
    if not path.is_file():
        raise CheckpointError(
            f"there is no model file {path}", hint="check the path, or give a name that `neurosam2 download` lists"
        )
    try:
        with warnings.catch_warnings(
            action="ignore"
        ):  # about what it cannot read; the error that follows says it better
            content: Any = _content(path)
    except pickle.UnpicklingError as error:
        reason = "holds code, not only weights," if "global" in str(error).lower() else "is damaged"
        raise CheckpointError(
            f"{path.name} {reason} and is not loaded", hint="get the weights from their publisher as a plain file"
        ) from error
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
    ) as error:
        raise CheckpointError(f"{path.name} is not a model file or is damaged", hint="download it again") from error
    for key in CONTAINER_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not any(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path.name} holds no weights")
    return content


def _content(path: Path) -> object:
    """What is in the file; where it may be, its tensors stay there. PyTorch maps by name, and takes every name for UTF-8."""
    if disk.MAPS_FILES and zipfile.is_zipfile(path) and disk.as_utf8(path) == str(path):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    with path.open("rb") as file:
        return torch.load(file, map_location="cpu", weights_only=True)


def _clean(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors under Meta's names, as float32."""
    state = {str(k).removeprefix("module."): v.float() for k, v in content.items() if isinstance(v, Tensor)}
    for layer in (0, 1):  # a library once renamed every "gamma" to "weight" while re-exporting
        renamed, proper = (f"memory_encoder.fuser.layers.{layer}.{name}" for name in ("weight", "gamma"))
        if renamed in state and proper not in state:
            state[proper] = state.pop(renamed)
    return state


def _architecture(state: Mapping[str, Tensor], path: Path) -> tuple[str, SAM2Config]:
    """The preset whose keys and shapes these are."""
    for key, what in KNOWN_FOREIGN.items():
        if key in state:
            raise CheckpointError(
                f"{path.name} is {what}", hint="choose a SAM 2, SAM 2.1, MedSAM2 or Medical-SAM2 file"
            )
    position = state.get(TRUNK + "pos_embed")
    if position is None or position.ndim != 4:
        raise CheckpointError(f"{path.name} is not a SAM 2 model: it has no {TRUNK}pos_embed")
    blocks = [int(k.split(".")[3]) for k in state if k.startswith(TRUNK + "blocks.") and k.split(".")[3].isdigit()]
    depth = 1 + max(blocks, default=-1)
    version = "sam2.1" if any(key in state for key in NEW_IN_2_1) else "sam2"
    for size in ("t", "s", "b+", "l"):
        name = f"{version}_hiera_{size}"
        trunk = PRESETS[name].trunk
        if (trunk.width, trunk.depth) == (position.shape[1], depth):
            return name, PRESETS[name]
    raise CheckpointError(
        f"{path.name} has an image encoder of width {position.shape[1]} with {depth} blocks; no SAM 2 model has",
        hint="known sizes are tiny, small, base_plus and large",
    )


def _guessed_size(path: Path, config: SAM2Config) -> int:
    """512 for the files of bowang-lab's MedSAM2, which were trained at that size; else the preset's own."""
    name = path.name.lower()
    is_medsam2 = name.startswith("medsam2_") and "pretrain" not in name
    return 512 if is_medsam2 or "512" in name else config.image_size
