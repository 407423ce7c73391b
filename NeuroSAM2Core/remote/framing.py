"""Frames: how one message after another is told apart in a stream of bytes.

A frame is a prelude of fixed size, a JSON header and the raw buffers that the header speaks of, back to back. The prelude says how long
both are, and nothing is allocated before that was found to be within bounds. What the header means is the business of `codec`.

Packed bytes whose unpacked size is known: nothing beyond it is ever unpacked.
A non-blocking socket that carries frames. Clients and workers use the same one; neither waits in it.
"""

import errno
import os
import socket
import struct
import sys
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import ProtocolError
from NeuroSAM2Core.volume import unpack_mask

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


RECEIVE_BYTES = 1 << 18
PEER_TIMEOUT_MS = 60_000
"""A peer that takes nothing of what it is sent for so long is gone."""
SEND_BYTES = 1 << 20
"""At most this much in one call of `flush`, so that nobody is held up."""


class StreamEndedError(Exception):
    """The other side has ended the connection, or it broke; the text says how."""


class FrameStream:
    """Frames in and out of a socket.

    Args:
        sock: Connected, or connecting; it is made non-blocking.
        limits: What the peer may send.
    """

    def __init__(self, sock: socket.socket, limits: FrameLimits = AUTHENTICATED_LIMITS) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_TIMEOUT_MS)
        self.sock = sock
        self._reader = FrameReader(limits)
        self._outgoing: deque[memoryview] = deque()
        self.outgoing_bytes = 0
        """Bytes that are not sent yet."""
        self.last_received = time.monotonic()
        """When something came last."""
        self._last_sent = time.monotonic()

    def fileno(self) -> int:
        """Of the socket."""
        return self.sock.fileno()

    def set_limits(self) -> None:
        """Sets the frame limits of an authenticated peer."""
        self._reader.limits = AUTHENTICATED_LIMITS

    def send(self, frame: bytes) -> None:
        """Puts a frame in the queue; `flush` sends."""
        if not self._outgoing:
            self._last_sent = time.monotonic()
        self._outgoing.append(memoryview(frame))
        self.outgoing_bytes += len(frame)

    def flush(self) -> None:
        """Sends what the socket takes now.

        Raises:
            StreamEndedError: The connection is gone.
        """
        budget = SEND_BYTES
        try:
            while self._outgoing and budget > 0:
                sent = self.sock.send(self._outgoing[0])
                budget -= sent
                self._last_sent = time.monotonic()
                self.outgoing_bytes -= sent
                self._outgoing[0] = self._outgoing[0][sent:]
                if not self._outgoing[0]:
                    self._outgoing.popleft()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._raise_unless_connecting(error)

    def receive(self) -> list[Frame]:
        """The frames that have come in completely.

        Raises:
            StreamEndedError: The connection is gone. What came before its end was returned by an earlier call.
            ProtocolError: What came is no frame; the stream is of no more use.
        """
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            self._raise_unless_connecting(error)
            return []
        if not data:
            if self._reader.has_partial_frame:
                raise StreamEndedError("the connection ended in the middle of a message")
            raise StreamEndedError("the other side ended the connection")
        self.last_received = time.monotonic()
        self._reader.feed(data)
        return list(self._reader.frames())

    def unread_s(self, now: float) -> float:
        """For how many seconds the other side has taken nothing of what waits for it; 0 where nothing waits."""
        return now - self._last_sent if self._outgoing else 0.0

    def close(self) -> None:
        """Ends the connection; what is not sent yet is lost."""
        self.sock.close()

    def _raise_unless_connecting(self, error: OSError) -> None:
        """Some systems say that a connection in the making is none, and keep to themselves why it failed."""
        code = error.errno
        if code == errno.ENOTCONN:
            code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                return
        if code == errno.ECONNREFUSED:
            raise StreamEndedError("nobody listens at that address") from error
        raise StreamEndedError(f"the connection broke: {os.strerror(code) if code else error}") from error
