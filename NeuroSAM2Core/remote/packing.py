"""Packed bytes whose unpacked size is known: nothing beyond it is ever unpacked."""

import zlib

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import ProtocolError
from NeuroSAM2Core.remote.framing import AUTHENTICATED_LIMITS
from NeuroSAM2Core.volume import unpack_mask


def unpacked(data: bytes, expected: int, what: str) -> bytes:
    """Bytes that zlib has packed.

    Args:
        data: Packed.
        expected: Their number when unpacked.
        what: What they are, a plural, for people.

    Raises:
        ProtocolError: They are damaged, cut short, or clearly more than expected.
    """
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, expected + 1)
    except zlib.error as error:
        raise ProtocolError(f"{what} cannot be unpacked: {error}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise ProtocolError(f"{what} are cut short, or more than they should be")
    return content


def mask_from_bits(data: bytes, shape: tuple[int, int], place: str, *, is_packed: bool) -> NDArray[np.bool_]:
    """A mask from its bits.

    Args:
        data: The bits, row by row.
        shape: Of the mask.
        place: Where it stands, for people.
        is_packed: zlib has packed the bits.

    Raises:
        ProtocolError: There is no such mask, or its bits are damaged, more or fewer.
    """
    if min(shape) < 1:
        raise ProtocolError(f"{place} has the shape {shape}; expected two positive numbers")
    expected = (shape[0] * shape[1] + 7) // 8
    if expected > AUTHENTICATED_LIMITS.max_body_bytes:
        raise ProtocolError(f"{place} of shape {shape} is larger than any slice that is taken")
    bits = unpacked(data, expected, f"the bits of {place}") if is_packed else data
    if len(bits) != expected:
        raise ProtocolError(f"{place} of shape {shape} came with {len(bits)} bytes of bits")
    return unpack_mask(bits, shape)
