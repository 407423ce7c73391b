"""Reading a safetensors file into memory of its own, so that whatever happens to the file later changes nothing.

The library's reader maps the file: a file that is overwritten in place then gives other weights, one that is cut ends the process. Here
every byte is read once, from the beginning to the end, straight into the tensors that are wanted.

Source: https://github.com/huggingface/safetensors, "Format".

A checksum inside a safetensors file, over every one of its bytes: whatever changes later is found.

The header holds SHA-256 of the file as it is with zeros in the checksum's place.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 16 << 20
MAX_DIMENSIONS = 8
CHUNK_BYTES = 4 << 20
DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """What the header says of a tensor."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    """Of its bytes, counted from the end of the header."""
    end: int


class TensorFile:
    """An open file whose header has been read and found to describe every byte after it.

    Args:
        file: At its beginning.
        hashed: Also find the SHA-256 of all that is read.

    Raises:
        ValueError: It is no such file, or is damaged.
        OSError: It cannot be read.
    """

    def __init__(self, file: FileIO, *, hashed: bool = False) -> None:
        self._file = file
        self._digest = hashlib.sha256() if hashed else None
        available = os.fstat(file.fileno()).st_size - LENGTH_BYTES
        if available < 0:
            raise ValueError("it has no header")
        length = int.from_bytes(self._next(LENGTH_BYTES), "little")
        if length > min(available, MAX_HEADER_BYTES):
            raise ValueError(f"its header would have {length} bytes")
        try:
            header: Any = json.loads(self._next(length))
        except RecursionError:
            raise ValueError("its header is nested too deeply") from None
        if not isinstance(header, dict):
            raise ValueError("its header is no table")
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata are no text")
        self.metadata: Mapping[str, str] = metadata
        stored = sorted((_stored(name, about) for name, about in header.items()), key=lambda one: (one.begin, one.end))
        place = 0
        for one in stored:
            if one.begin != place:
                raise ValueError(f"the bytes of {one.name!r} do not follow those before")
            place = one.end
        if place != available - length:
            raise ValueError(f"it should have {place} bytes of tensors and has {available - length}")
        self.stored: Mapping[str, StoredTensor] = {one.name: one for one in stored}

    def tensors(self, is_wanted: Callable[[str], bool] = lambda name: True) -> Iterator[tuple[str, Tensor]]:
        """The tensors that are wanted, by name, in the file's order; to be gone through once, to the end.

        Raises:
            ValueError: The file was cut meanwhile.
            OSError: It cannot be read.
        """
        for one in self.stored.values():
            if is_wanted(one.name):
                tensor = torch.empty(one.end - one.begin, dtype=torch.uint8)
                self._fill(tensor.numpy().data)
                yield one.name, tensor.view(one.dtype).reshape(one.shape)
            elif self._digest is None:
                self._file.seek(one.end - one.begin, os.SEEK_CUR)
            else:
                for place in range(one.begin, one.end, CHUNK_BYTES):
                    self._next(min(CHUNK_BYTES, one.end - place))

    @property
    def sha256(self) -> str:
        """Of what has been read; empty where it was not asked for."""
        return "" if self._digest is None else self._digest.hexdigest()

    def _next(self, length: int) -> bytes:
        content = bytearray(length)
        self._fill(memoryview(content))
        return bytes(content)

    def _fill(self, view: memoryview) -> None:
        """Reads the file's next bytes."""
        place = 0
        while place < len(view):
            count = self._file.readinto(view[place : place + CHUNK_BYTES])
            if not count:
                raise ValueError("it was cut while it was read")
            if self._digest is not None:
                self._digest.update(view[place : place + count])
            place += count


def _stored(name: str, about: Mapping[str, Any]) -> StoredTensor:
    """What a header says of a tensor, checked."""
    dtype, shape, (begin, end) = DTYPES.get(str(about["dtype"])), tuple(about["shape"]), about["data_offsets"]
    if dtype is None:
        raise ValueError(f"{name!r} has numbers of an unknown kind")
    if len(shape) > MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise ValueError(f"{name!r} has no shape or place")
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name!r} has {end - begin} bytes, which is not what its shape {shape} takes")
    return StoredTensor(name, dtype, shape, begin, end)


KEY = "sha256"
BLANK = "0" * 64
"""What stands in a file that has no checksum yet, under `KEY` in its metadata."""
PLACE = re.compile(rb'"sha256":"([0-9a-f]{64})"')
EXPECTED = "has_checksum"
"""Stands in our own metadata of a file that has one: a file that lost it is damaged, one that never had it is not."""
CHECKSUM_CHUNK_BYTES = 1 << 20


def write(path: Path) -> None:
    """Writes the checksum into a file that was written with `BLANK` in its place."""
    place = _place(path)
    assert place is not None, "the file was written with space for a checksum"
    digest = _digest(path, place)
    with path.open("rb+") as file:
        file.seek(place)
        file.write(digest)


def is_valid(path: Path) -> bool:
    """Whether a file is as it was sealed; true for one that was written before there were checksums.

    Raises:
        OSError: It cannot be read.
    """
    place = _place(path)
    if place is None:
        return EXPECTED.encode() not in _header(path)
    with path.open("rb") as file:
        file.seek(place)
        known = file.read(len(BLANK))
    return known == _digest(path, place)


def _place(path: Path) -> int | None:
    """Where the checksum begins; None where there is none."""
    match = PLACE.search(_header(path))
    return None if match is None else LENGTH_BYTES + match.start(1)


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        return file.read(min(length, path.stat().st_size))


def _digest(path: Path, place: int) -> bytes:
    """SHA-256, in hexadecimal, of a file with zeros in the checksum's place."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(place))
        file.seek(len(BLANK), 1)
        digest.update(BLANK.encode())
        while chunk := file.read(CHECKSUM_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest().encode()
