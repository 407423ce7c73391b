"""Packed bytes whose unpacked size is known: nothing beyond it is ever unpacked."""

import zlib

from NeuroSAM2Core.errors import ProtocolError


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
