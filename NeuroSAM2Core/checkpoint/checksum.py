"""A checksum inside a safetensors file, over every one of its bytes: whatever changes later is found.

The header holds SHA-256 of the file as it is with zeros in the checksum's place.
"""

import hashlib
import re
from pathlib import Path

KEY = "sha256"
BLANK = "0" * 64
"""What stands in a file that has no checksum yet, under `KEY` in its metadata."""
LENGTH_BYTES = 8
"""A file begins with the length of its header."""
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
