"""Frames: how one message after another is told apart in a stream of bytes.

A frame is a prelude of fixed size, a JSON header and the raw buffers that the header speaks of, back to back. The prelude says how long
both are, and nothing is allocated before that was found to be within bounds. What the header means is the business of `codec`.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from NeuroSAM2Core.errors import ProtocolError

MAGIC = b"NSM2"
VERSION = 3
PRELUDE = struct.Struct("<4sHHIQ")
"""Magic, protocol version, number of buffers, bytes of the header, bytes of all buffers; little-endian."""
MAX_BUFFERS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameLimits:
    """What a peer may send in one frame."""

    max_header_bytes: int
    max_body_bytes: int


AUTHENTICATED_LIMITS = FrameLimits(max_header_bytes=1 << 20, max_body_bytes=32 << 20)
"""After the handshake: thousands of clicks, a mask of 16384 x 16384."""
PREAUTH_LIMITS = FrameLimits(max_header_bytes=4096, max_body_bytes=0)
"""Before it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message's bytes."""

    header: bytes
    buffers: tuple[bytes, ...] = ()


def pack_frame(header: bytes, buffers: Sequence[bytes] = ()) -> bytes:
    """The bytes of a frame. The buffers' own lengths are part of the body: one unsigned 64-bit number each, before them all."""
    lengths = struct.pack(f"<{len(buffers)}Q", *map(len, buffers))
    body = sum(map(len, buffers)) + len(lengths)
    return b"".join((PRELUDE.pack(MAGIC, VERSION, len(buffers), len(header), body), header, lengths, *buffers))


class FrameReader:
    """Makes frames of bytes as they come in, whatever pieces they come in.

    Args:
        limits: What the peer may send; may be changed between frames.
    """

    def __init__(self, limits: FrameLimits = AUTHENTICATED_LIMITS) -> None:
        self.limits = limits
        self._bytes = bytearray()

    @property
    def has_partial_frame(self) -> bool:
        """A frame has begun and not ended."""
        return bool(self._bytes)

    def feed(self, data: bytes) -> None:
        """Takes what has come in."""
        self._bytes += data

    def frames(self) -> Iterator[Frame]:
        """The frames that are complete; each is checked as soon as its prelude is there.

        Raises:
            ProtocolError: These bytes are no frame, or one of another version, or too large; the stream is of no more use.
        """
        while len(self._bytes) >= PRELUDE.size:
            count, header_bytes, body_bytes = _check_prelude(bytes(self._bytes[: PRELUDE.size]), self.limits)
            end = PRELUDE.size + header_bytes + body_bytes
            if len(self._bytes) < end:
                return
            whole = bytes(memoryview(self._bytes)[PRELUDE.size : end])
            del self._bytes[:end]
            yield Frame(whole[:header_bytes], _split(whole[header_bytes:], count))


def _check_prelude(prelude: bytes, limits: FrameLimits) -> tuple[int, int, int]:
    """Buffers, header bytes and body bytes of a frame to come."""
    magic, version, count, header_bytes, body_bytes = PRELUDE.unpack(prelude)
    if magic != MAGIC:
        raise ProtocolError(
            f"what came is not of the NeuroSAM2 protocol: it begins with {magic!r}, expected {MAGIC!r}",
            hint="is another program listening on, or talking to, that port?",
        )
    if version != VERSION:
        raise ProtocolError(
            f"the other side speaks version {version} of the protocol, this one version {VERSION}",
            hint="install the same NeuroSAM2 on both sides",
        )
    if count > MAX_BUFFERS:
        raise ProtocolError(f"a frame claims {count} buffers; at most {MAX_BUFFERS} are taken")
    if header_bytes > limits.max_header_bytes:
        raise ProtocolError(
            f"a frame claims a header of {header_bytes} bytes; at most {limits.max_header_bytes} are taken"
        )
    if body_bytes > limits.max_body_bytes:
        raise ProtocolError(f"a frame claims {body_bytes} bytes of buffers; at most {limits.max_body_bytes} are taken")
    if body_bytes < 8 * count or (body_bytes and not count):
        raise ProtocolError(f"a frame claims {count} buffers in {body_bytes} bytes")
    return count, header_bytes, body_bytes


def _split(body: bytes, count: int) -> tuple[bytes, ...]:
    lengths = struct.unpack_from(f"<{count}Q", body)
    if sum(lengths) != len(body) - 8 * count:
        raise ProtocolError(f"the buffers of a frame should have {sum(lengths)} bytes; {len(body) - 8 * count} came")
    buffers, at = [], 8 * count
    for length in lengths:
        buffers.append(body[at : at + length])
        at += length
    return tuple(buffers)
