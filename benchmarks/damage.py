"""Damages sound files at random: bytes and numbers that are others, lines that are gone, names that lead elsewhere, links."""

import gzip
import io
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from nibabel.nifti1 import header_dtype

NUMBERS = (
    "0",
    "-1",
    "1",
    "nan",
    "inf",
    "1e999",
    "-1e308",
    "2147483648",
    "99999999999999999999",
    "1_0",
    "0x10",
    "",
    "٣",
)
WORDS = (
    "none",
    "???",
    "domain",
    "RGB-color",
    "list",
    "quaternion",
    "middle",
    "block",
    "hex",
    "left-posterior-superior-time",
)


STRANGE = (
    0,
    -1,
    1,
    2**31,
    2**63,
    10**400,
    0.5,
    float("nan"),
    float("inf"),
    True,
    None,
    "",
    "a" * 5000,
    [],
    [0],
    {},
    {"a": 1},
)
"""Values for what is JSON."""
NIFTI_FIELDS = tuple((header_dtype.fields[name][1], header_dtype.fields[name][0]) for name in header_dtype.names)
"""Where each field of a NIfTI-1 header begins, and its type."""
CASE = "case"
"""The folder that a sample is read from."""
LENGTH_BYTES = 8
"""A safetensors file begins with the length of its header."""
Files = dict[str, bytes]
"""What a folder holds, by relative path."""
Content = bytes | Path
"""Of a file; a path stands for a link to it."""


class Damager:
    """Damages sound files.

    Args:
        seed: Of one file; the same damage for the same seed.
        root: Its folder `outside` is named as a target.
        address: Of a server that nobody may call.
    """

    def __init__(self, seed: int, root: Path, address: str) -> None:
        self.random, self.root = random.Random(seed), root
        self.hostile = (
            *("../../outside/evil.nrrd", f"{root}/outside/evil.nrrd", "/etc/passwd", "%2e%2e/%2e%2e/outside/evil.nrrd"),
            *(f"{address}/evil.nrrd", "C:\\evil.nrrd", "a\0b.nrrd", "w" * 5000, "é" * 300, "%s%s%s%n", "Data"),
        )

    def damage(self, sound: Files, kind: str) -> dict[str, Content]:
        """The files of one sound sample, one of them damaged."""
        if kind == "run folder":
            return self._run(sound)
        name, act = {
            ".nii": ("a.nii", self._nifti),
            ".nrrd": ("a.nrrd", self._nrrd),
            ".seg.nrrd": ("a.seg.nrrd", self._nrrd),
            ".mrb": ("a.mrb", self._bundle),
            ".safetensors": ("a.safetensors", self._tensors),
            ".pt": ("a.pt", self._pickle),
            "dataset.json": ("dataset.json", self._text),
        }[kind]
        return {**sound, name: self._repeated(act, sound[name], most=1 if kind == ".mrb" else 4)}

    def _repeated(self, act: Callable[[bytes], bytes], data: bytes, *, most: int = 4) -> bytes:
        for _ in range(min(self.random.choice((1, 1, 2, 4)), most)):
            data = act(data) if len(data) > 1 else data
        return data

    def _run(self, sound: Files) -> dict[str, Content]:
        """A file of the folder that is gone, empty, damaged or a link to a file elsewhere."""
        name = self.random.choice(sorted(sound))
        act = self.random.randrange(9)
        files: dict[str, Content] = {**sound}
        if act == 0:
            del files[name]
        elif act == 1:
            files[name] = b""
        elif act == 2:
            files[name] = self.root / "outside" / "evil"
        elif act == 3:
            files[f"{name}/inside"] = files.pop(name)
        else:
            damage = self._tensors if name.endswith(".safetensors") else self._text
            files[name] = self._repeated(damage, sound[name])
        return files

    def _nifti(self, data: bytes) -> bytes:
        """A packed or plain file with another value in a field of its header, or bytes that are others."""
        if data.startswith(b"\x1f\x8b"):
            if self.random.random() < 0.3:
                return self.random.choice((self._bytes, self._cut))(data)
            try:
                return gzip.compress(self._nifti(gzip.decompress(data)))
            except (OSError, EOFError, zlib.error):  # damaged before
                return self._bytes(data)
        act = self.random.randrange(6)
        if act == 0:
            return self._bytes(data)
        if act == 1:
            return self._cut(data)
        place, kind = self.random.choice(NIFTI_FIELDS)
        count = max(1, kind.itemsize // kind.base.itemsize)
        place += self.random.randrange(count) * kind.base.itemsize
        value = struct.pack("<d", self.random.choice((0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"))))[
            -kind.base.itemsize :
        ]
        if kind.base.kind != "f":
            value = self.random.choice((b"\0", b"\1", b"\x7f", b"\x80", b"\xff")) * kind.base.itemsize
        if kind.base.kind == "f" and kind.base.itemsize == 4:
            value = struct.pack("<f", self.random.choice((0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"))))
        return data[:place] + value + data[place + kind.base.itemsize :]

    def _tensors(self, data: bytes) -> bytes:
        """A safetensors file with another header, of a right or wrong length, or bytes that are others."""
        length = int.from_bytes(data[:LENGTH_BYTES], "little")
        act = self.random.randrange(8)
        if act == 0 or LENGTH_BYTES + length > len(data):
            return self._bytes(data)
        if act == 1:
            return self._cut(data)
        if act == 2:
            count = self.random.choice((0, 1, length - 1, length + 1, 1 << 31, (1 << 63) - 1, (1 << 64) - 1))
            return count.to_bytes(LENGTH_BYTES, "little") + data[LENGTH_BYTES:]
        header, body = data[LENGTH_BYTES : LENGTH_BYTES + length], data[LENGTH_BYTES + length :]
        header = self._own_settings(header) if act in (3, 4) else self._text(header)
        return len(header).to_bytes(LENGTH_BYTES, "little") + header + body

    def _own_settings(self, header: bytes) -> bytes:
        """What the header holds of ours, which is JSON in JSON, with another value."""
        try:
            said = json.loads(header)
            about = said["__metadata__"]["neurosam2"]
            said["__metadata__"]["neurosam2"] = self._text(about.encode()).decode(errors="replace")
            return json.dumps(said, separators=(",", ":")).encode()
        except (ValueError, KeyError, TypeError, AttributeError):
            return self._text(header)

    def _text(self, data: bytes) -> bytes:
        """JSON, TOML or lines of them with another value, number, byte or end."""
        try:
            said = json.loads(data)
        except ValueError:
            said = None
        act = self.random.randrange(6)
        if act == 0:
            return self._bytes(data)
        if act == 1:
            return self._cut(data)
        if act == 2 or not isinstance(said, dict | list) or not said:
            return self._number(data)
        place: object = said
        while isinstance(place, dict | list) and place:  # one value, however deep
            key = self.random.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if not isinstance(place[key], dict | list) or not place[key] or self.random.random() < 0.2:
                break
            place = place[key]
        assert isinstance(place, dict | list)
        if self.random.random() < 0.15:
            del place[key]
        else:
            place[key] = self.random.choice((*STRANGE, *self.hostile))
        return json.dumps(said, separators=(",", ":")).encode()

    def _pickle(self, data: bytes) -> bytes:
        """A file of PyTorch's with other bytes in its pickle, another entry, or bytes that are others anywhere."""
        act = self.random.randrange(5)
        if act == 0 or not zipfile.is_zipfile(io.BytesIO(data)):
            return self.random.choice((self._bytes, self._bytes, self._number))(data)
        if act == 1:
            return self._cut(data)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                entries = [(name, file.read(name)) for name in file.namelist()]
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, zlib.error, struct.error):
            return self._bytes(data)
        number = self.random.randrange(len(entries)) if act in (2, 3) else 0
        name, content = entries[number]
        if len(content) > 1:
            content = self.random.choice((self._bytes, self._cut, self._number))(content)
        entries[number] = (
            self.random.choice((name, name, name, "archive/data/0", *self.hostile)).replace("\0", "\1"),
            content,
        )
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file, warnings.catch_warnings(action="ignore"):
            for one, inside in entries:
                file.writestr(one, inside)
        return buffer.getvalue()

    def _nrrd(self, data: bytes) -> bytes:
        if len(data) < 2:
            return data
        act = self.random.choice((self._line, self._line, self._line, self._number, self._bytes, self._cut))
        return act(data)

    def _line(self, data: bytes) -> bytes:
        """A line of the header that is gone, doubled, or of another value."""
        head, _, body = data.partition(b"\n\n")
        lines = head.split(b"\n")
        number = self.random.randrange(len(lines))
        key = re.split(rb":=?", lines[number])[0]
        sign = self.random.choice((b": ", b": ", b":=", b":"))
        value = self.random.choice((*WORDS, *NUMBERS, *self.hostile))
        new = [
            [],
            [lines[number]] * 2,
            [key + sign + value.encode()],
            [key + sign + " ".join([value] * self.random.choice((3, 4, 6))).encode()],
            [lines[number], f"Segment0_{self.random.choice(('Extent', 'Layer', 'Name', 'Color'))}:={value}".encode()],
            [
                lines[number],
                self.random.choice((b"data file: ", b"kinds: ", b"units: ", b"byte skip: ")) + value.encode(),
            ],
        ]
        return b"\n".join(lines[:number] + self.random.choice(new) + lines[number + 1 :]) + b"\n\n" + body

    def _number(self, data: bytes) -> bytes:
        """A number of the text that is another."""
        found = list(re.finditer(rb"-?\d+(\.\d+)?", data[: max(data.find(b"\n\n"), 200)]))
        if not found:
            return data
        one = self.random.choice(found)
        return data[: one.start()] + self.random.choice((*NUMBERS, *WORDS)).encode() + data[one.end() :]

    def _bytes(self, data: bytes) -> bytes:
        """A few bytes that are others, in the first part or anywhere."""
        changed = bytearray(data or b" ")
        for _ in range(self.random.choice((1, 2, 8))):
            changed[self.random.randrange(self.random.choice((len(changed), min(len(changed), 400))))] = (
                self.random.randrange(256)
            )
        return bytes(changed)

    def _cut(self, data: bytes) -> bytes:
        return data[: self.random.randrange(1, max(len(data), 2))]

    def _bundle(self, data: bytes) -> bytes:
        act = self.random.randrange(12)
        if act == 0:
            return self._bytes(data)
        if act == 1:
            return self._cut(data)
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            entries = [(name, file.read(name)) for name in file.namelist() if not name.endswith("/")]
        number = self.random.randrange(len(entries)) if act > 6 else _scene_in(entries)
        name, content = entries[number]
        if act == 2:
            name = self.random.choice(self.hostile).replace("\0", "\1")
        elif name.endswith(".mrml"):
            for _ in range(self.random.choice((1, 1, 3))):
                content = self._scene(content) if len(content) > 1 else content
        elif name.endswith(".nrrd"):
            content = self._nrrd(content)
        elif len(content) > 1:
            content = self.random.choice((self._bytes, self._number, self._cut))(content)
        entries[number] = name, content
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for one, inside in entries:
                info = zipfile.ZipInfo(one)
                if act == 3:
                    info.create_system, info.external_attr = 3, self.random.choice((0o120777, 0o010666)) << 16
                file.writestr(info, inside)
        front = self.random.choice((b"", b"", bytes(512), b"junk")) if act == 4 else b""
        return front + buffer.getvalue()

    def _scene(self, text: bytes) -> bytes:
        """An attribute of a node with another value, or a byte that is another."""
        found = list(re.finditer(rb'(\w+)="([^"]*)"', text))
        if not found or self.random.random() < 0.1:
            return self._bytes(text)
        files = [one for one in found if one.group(1).lower().startswith((b"file", b"uri"))]
        one = self.random.choice(files if files and self.random.random() < 0.3 else found)
        values = (*NUMBERS, *self.hostile, "vtkMRMLSceneViewNode1", "1 2 3", "9 " * 300)
        value = self.random.choice(values).replace("\0", "&#1;").encode()
        name = self.random.choice((one.group(1), one.group(1), one.group(1), b"uri", b"fileListMember0"))
        return text[: one.start()] + name + b'="' + value + b'"' + text[one.end() :]


def _scene_in(entries: list[tuple[str, bytes]]) -> int:
    return next(number for number, (name, _) in enumerate(entries) if name.endswith(".mrml"))
