"""Model files of others: Meta's SAM 2 and 2.1, MedSAM2, Medical-SAM2 and NeuroSAM2D.

All hold the same keys. Which size and version it is follows from the tensors. Only data is loaded, never code.

Source: the key lists in Testing/Data/sam2_keys; Ma et al., "MedSAM2", 2025; Zhu et al., "Medical SAM 2", 2024.
"""

import hashlib
import io
import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from NeuroSAM2Core import disk
from NeuroSAM2Core.checkpoint.checkpoint import Checkpoint, Provenance, check_finite, check_fit
from NeuroSAM2Core.errors import CheckpointError
from NeuroSAM2Core.model import PRESETS, SAM2Config
from NeuroSAM2Core.model.lora import ADAPTER, merge_lora

OFFICIAL_SUFFIXES = (".pt", ".pth", ".ckpt")
MAX_BYTES = 8 << 30
"""Of a file that is read; the largest published one has 0.9 GB."""
MAX_NESTING = 5
AVERAGED = re.compile(r"ema|average|shadow|teacher", re.IGNORECASE)
"""Names under which averages of weights are kept: taken only where the weights themselves are not there."""
WRAPPERS = re.compile(r"(?<![^.])(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What PyTorch's own wrappers put into the names of weights, wherever they stand."""
TRUNK = "image_encoder.trunk."
ANCHOR = TRUNK + "pos_embed"
"""The weight that every SAM 2 model has, by which its names are recognised whatever stands before them."""
NEW_IN_2_1 = ("no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias")
KNOWN_FOREIGN = {
    "image_encoder.blocks.0.attn.rel_pos_h": "a SAM 1 model (SAM, MedSAM); its image encoder is another one",
    "image_encoder.patch_embed.proj.weight": "a SAM 1 model (SAM, MedSAM); its image encoder is another one",
    "image_encoder.trunk.patch_embed.proj.conv.weight": "an EfficientTAM model; its image encoder is another one",
    "image_encoder.trunk.blocks.0.ls1.gamma": "an EfficientTAM model; its image encoder is another one",
    "image_encoder.trunk.cls_token": "an EfficientTAM model; its image encoder is another one",
}


@dataclass(frozen=True, slots=True)
class _Weights:
    """Tensors that were found in a file."""

    place: str
    """The keys that lead to them, and what stands before their names; empty where they lie open."""
    tensors: Mapping[str, Tensor]


def read_official(
    path: Path, *, image_size: int | None = None, lora_alpha: float | None = None, hashed: bool = False
) -> Checkpoint:
    """The model in a `.pt`, `.pth` or `.ckpt` file.

    Args:
        path: The file.
        image_size: Side of the input the model was trained for; guessed from the file's name if None.
        lora_alpha: Scale of low-rank adapters, where the file has any; NeuroSAM2D's default if None.
        hashed: Also find the SHA-256 of what is read.

    Raises:
        CheckpointError: The file is missing, damaged, holds code, or is not a SAM 2 model.
    """
    content = read_bytes(path)
    sha256 = hashlib.sha256(content).hexdigest() if hashed else ""
    return official_model(content, path.name, image_size=image_size, lora_alpha=lora_alpha, sha256=sha256)


def read_bytes(path: Path) -> bytes:
    """The whole of a model file: what is checked, recorded and loaded are then the same bytes.

    Raises:
        CheckpointError: It is missing, cannot be read, or is larger than any model.
    """
    path = disk.extended(path)
    if not disk.is_file(path):
        raise CheckpointError(
            f"there is no model file {path}", hint="check the path, or give a name that `neurosam2 download` lists"
        )
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise CheckpointError(f"{path.name} has {size:,} bytes; no model has more than {MAX_BYTES:,}")
            return file.read(size)
    except (OSError, MemoryError) as error:
        raise CheckpointError(
            f"{path.name} cannot be read: {error or 'this machine does not have enough memory for it'}"
        ) from error


def official_model(
    content: bytes,
    file_name: str,
    *,
    image_size: int | None = None,
    lora_alpha: float | None = None,
    sha256: str = "",
) -> Checkpoint:
    """The model in the bytes of a `.pt`, `.pth` or `.ckpt` file, whose SHA-256 is noted where it is known; see `read_official`."""
    weights = _chosen(_unpacked(content, file_name), file_name)
    state = _under_known_names(weights.tensors, file_name)
    name, config = _architecture(state, file_name)
    plain = {key: value for key, value in state.items() if not ADAPTER.match(key)}
    check_fit({key: tuple(value.shape) for key, value in plain.items()}, config, file_name)
    if strange := next((key for key, value in state.items() if not _is_plain(value)), None):
        raise CheckpointError(f"{file_name} has weights in {strange} that are no floating-point numbers")
    merged = merge_lora(state | {key: _owned(value) for key, value in plain.items()}, alpha=lora_alpha)
    check_finite(merged, file_name)
    config = replace(config, image_size=image_size or _guessed_size(file_name, config))
    notes = f"recognised as {name}" + (f", under {weights.place!r}" if weights.place else "")
    provenance = Provenance(name=Path(file_name).stem, source=file_name, source_sha256=sha256, notes=notes)
    return Checkpoint(config, merged, provenance, sha256=sha256)


def _unpacked(content: bytes, file_name: str) -> object:
    """What was pickled, data only."""
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > len(content):
                    raise CheckpointError(f"{file_name} is packed in a way that PyTorch does not write")
        with warnings.catch_warnings(
            action="ignore"
        ):  # about what it cannot read; the error that follows says it better
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = "holds code, not only weights," if "global" in str(error).lower() else "is damaged"
        raise CheckpointError(
            f"{file_name} {reason} and is not loaded", hint="get the weights from their publisher as a plain file"
        ) from error
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        ArithmeticError,
        AssertionError,
        ImportError,
        MemoryError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:
        raise CheckpointError(f"{file_name} is not a model file or is damaged", hint="download it again") from error


def _tensors_in(content: object, place: str = "", depth: int = 0) -> Iterator[_Weights]:
    """Every table of tensors in a file, the outer ones first, whatever it is wrapped in."""
    if not isinstance(content, Mapping) or depth > MAX_NESTING:
        return
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield _Weights(place, tensors)
    for key, value in content.items():
        yield from _tensors_in(value, f"{place}{key}.", depth + 1)


def _chosen(content: object, file_name: str) -> _Weights:
    """The weights of the SAM 2 model among all tensors of a file.

    Raises:
        CheckpointError: There is none, or more than one.
    """
    tables = list(_tensors_in(content))
    if not tables:
        raise CheckpointError(f"{file_name} holds no weights")
    found = []
    for table in tables:
        for key in table.tensors:
            if (cleaned := WRAPPERS.sub("", key)) == ANCHOR or cleaned.endswith("." + ANCHOR):
                before = key[: key.index(TRUNK.partition(".")[0] + ".")]
                own = {name[len(before) :]: value for name, value in table.tensors.items() if name.startswith(before)}
                found.append(_Weights((table.place + before).rstrip("."), own))
    if not found:
        raise CheckpointError(
            _other_contents(tables, file_name), hint="choose a SAM 2, SAM 2.1, MedSAM2 or Medical-SAM2 file"
        )
    plain = [weights for weights in found if not AVERAGED.search(weights.place)] or found
    if len(plain) > 1 and any(not _are_same(weights, plain[0]) for weights in plain):
        places = ", ".join(repr(weights.place) for weights in plain)
        raise CheckpointError(f"{file_name} holds several models, under {places}", hint="save one of them alone")
    return plain[0]


def _are_same(one: _Weights, other: _Weights) -> bool:
    return all(other.tensors.get(name) is value for name, value in one.tensors.items())


def _other_contents(tables: list[_Weights], file_name: str) -> str:
    """What a file is that has no SAM 2 model, as far as its names tell."""
    names = {WRAPPERS.sub("", key) for table in tables for key in table.tensors}
    for foreign, what in KNOWN_FOREIGN.items():
        if any(name == foreign or name.endswith("." + foreign) for name in names):
            return f"{file_name} is {what}"
    largest = max(tables, key=lambda table: len(table.tensors))
    where = f"under {largest.place.rstrip('.')[:200]!r}" if largest.place else "not under any key"
    first = next(iter(largest.tensors))[:200]
    return f"{file_name} is not a SAM 2 model: its weights are {where}, begin with {first!r}, and none is {ANCHOR}"


def _under_known_names(tensors: Mapping[str, Tensor], file_name: str) -> dict[str, Tensor]:
    """Tensors under Meta's names."""
    state: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = WRAPPERS.sub("", key)
        if name in state:
            raise CheckpointError(f"{file_name} has two weights {name}")
        state[name] = value.detach()
    for layer in (0, 1):  # a library once renamed every "gamma" to "weight" while re-exporting
        renamed, proper = (f"memory_encoder.fuser.layers.{layer}.{name}" for name in ("weight", "gamma"))
        if renamed in state and proper not in state:
            state[proper] = state.pop(renamed)
    return state


def _is_plain(value: Tensor) -> bool:
    return value.layout == torch.strided and value.is_floating_point() and value.device.type == "cpu"


def _owned(value: Tensor) -> Tensor:
    """A tensor as float32 in memory that holds nothing else."""
    value = value.float().contiguous()
    return value if value.untyped_storage().nbytes() == value.numel() * value.itemsize else value.clone()


def _architecture(state: Mapping[str, Tensor], file_name: str) -> tuple[str, SAM2Config]:
    """The preset whose keys and shapes these are."""
    for key, what in KNOWN_FOREIGN.items():
        if key in state:
            raise CheckpointError(
                f"{file_name} is {what}", hint="choose a SAM 2, SAM 2.1, MedSAM2 or Medical-SAM2 file"
            )
    position = state[ANCHOR]
    if position.ndim != 4:
        raise CheckpointError(f"{file_name} is not a SAM 2 model: {ANCHOR} has {position.ndim} dimensions, expected 4")
    blocks = [int(found[1]) for key in state if (found := re.match(r"image_encoder\.trunk\.blocks\.(\d{1,4})\.", key))]
    depth = 1 + max(blocks, default=-1)
    version = "sam2.1" if any(key in state for key in NEW_IN_2_1) else "sam2"
    for size in ("t", "s", "b+", "l"):
        name = f"{version}_hiera_{size}"
        trunk = PRESETS[name].trunk
        if (trunk.width, trunk.depth) == (position.shape[1], depth):
            return name, PRESETS[name]
    raise CheckpointError(
        f"{file_name} has an image encoder of width {position.shape[1]} with {depth} blocks; no SAM 2 model has",
        hint="known sizes are tiny, small, base_plus and large",
    )


def _guessed_size(file_name: str, config: SAM2Config) -> int:
    """512 for the files of bowang-lab's MedSAM2, which were trained at that size; else the preset's own."""
    name = file_name.lower()
    is_medsam2 = name.startswith("medsam2_") and "pretrain" not in name
    return 512 if is_medsam2 or "512" in name else config.image_size
