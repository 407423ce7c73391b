"""Damaged files through the app's own reading functions: none may end it, be a traceback, write elsewhere or send a request.

Usage: python -m benchmarks.fuzz [--minutes 5] [--files N] [--seed 0]

Sound files are made (images in several dialects of NRRD, a segmentation, a scene bundle), damaged at random by a seed, and read in a
process of its own. A bundle whose scene ends that process is given to the app's trial (see `NeuroSAM2MRML.trial`), which must say so in
a sentence.
"""

import argparse
import gzip
import io
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from NeuroSAM2Core.errors import DataError, NeuroSAM2Error

if TYPE_CHECKING:
    from NeuroSAM2MRML.headless import HeadlessApplication

KINDS = (".nrrd", ".nrrd", ".seg.nrrd", ".seg.nrrd", ".mrb")
"""One after another."""
SILENCE_S = 120.0
"""A file that takes longer counts as one that ends the process."""
PLACES = ("cwd", "home", "tmp", "outside")
"""Folders that stay empty."""
NRRD = b"NRRD0004\ntype: %s\ndimension: 3\nsizes: 6 5 4\nencoding: %s\nendian: little\n%s\n"
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


@dataclass(slots=True)
class Findings:
    """What came of the files."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Files by kind and outcome."""
    defects: list[str] = field(default_factory=list)
    """Each a sentence; empty where all promises hold."""

    @property
    def count(self) -> int:
        return sum(self.outcomes.values())

    def table(self) -> str:
        return "\n".join(f"{count:6d}  {outcome}" for outcome, count in sorted(self.outcomes.items()))


class Damager:
    """Damages sound files.

    Args:
        seed: Of one file; the same damage for the same seed.
        root: Its folder `outside` is named as a target.
        address: Of a server that nobody may call.
    """

    def __init__(self, seed: int, root: Path, address: str) -> None:
        self.random = random.Random(seed)
        self.hostile = (
            *("../../outside/evil.nrrd", f"{root}/outside/evil.nrrd", "/etc/passwd", "%2e%2e/%2e%2e/outside/evil.nrrd"),
            *(f"{address}/evil.nrrd", "C:\\evil.nrrd", "a\0b.nrrd", "w" * 5000, "é" * 300, "%s%s%s%n", "Data"),
        )

    def damage(self, data: bytes, kind: str) -> bytes:
        """A damaged file of that kind."""
        if kind == ".mrb":
            return self._bundle(data)
        for _ in range(self.random.choice((1, 1, 2, 4))):
            data = self._nrrd(data)
        return data

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
        changed = bytearray(data)
        for _ in range(self.random.choice((1, 2, 8))):
            changed[self.random.randrange(self.random.choice((len(data), min(len(data), 400))))] = (
                self.random.randrange(256)
            )
        return bytes(changed)

    def _cut(self, data: bytes) -> bytes:
        return data[: self.random.randrange(1, len(data))]

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


def fuzz(*, seed: int, files: int | None = None, seconds: float | None = None) -> Findings:
    """Reads damaged files until so many are read, or so much time is over."""
    findings, begin, number = Findings(), time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        root = Path(folder)
        for place in (*PLACES, "files"):
            (root / place).mkdir()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        while (files is None or number < files) and (seconds is None or time.monotonic() - begin < seconds):
            rest = 1 << 60 if files is None else files
            until = float("inf") if seconds is None else seconds - (time.monotonic() - begin)
            number = _one_process(root, address, seed, number, rest, until, findings)
        for place in PLACES:
            findings.defects += [f"{path} was written" for path in (root / place).rglob("*")]
        try:
            server.accept()
            findings.defects.append("a request was sent")
        except BlockingIOError:
            pass
    return findings


def _one_process(root: Path, address: str, seed: int, first: int, end: int, until_s: float, findings: Findings) -> int:
    """Files from the first one on, until the process that reads them ends; returns the next."""
    limit = "" if until_s == float("inf") else str(until_s)
    command = [sys.executable, "-P", "-m", __name__ if __name__ != "__main__" else "benchmarks.fuzz", "--read"]
    paths = os.pathsep.join(dict.fromkeys(str(Path(path).resolve()) for path in sys.path if path))
    environment = os.environ | {"PYTHONPATH": paths, "HOME": str(root / "home"), "TMPDIR": str(root / "tmp")}
    process = subprocess.Popen(
        [*command, str(root), address, str(seed), str(first), str(end), limit],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        env=environment,
        cwd=root / "cwd",
    )
    assert process.stdout is not None
    number, kind, stage = first - 1, "", ""
    with process:
        for line in process.stdout:
            words = line.rstrip("\n").split("\t")
            if words[0] == "reads":
                number, kind, stage = int(words[1]), words[2], words[3]
            elif words[0] == "did":
                findings.outcomes[f"{kind} {words[1]}"] += 1
                stage = ""
            elif words[0] == "defect":
                findings.defects.append(f"file {number} ({kind}): {words[1][:300]}")
    if stage:
        _note_death(root, kind, stage, number, process.returncode, findings)
    elif process.returncode:
        return number + 2  # it failed between two files, and has said so
    for path in (root / "tmp").iterdir():  # of a process that ended
        if stage:
            subprocess.run(["rm", "-rf", str(path)], check=True)
    return number + 1


def _note_death(root: Path, kind: str, stage: str, number: int, code: int, findings: Findings) -> None:
    from NeuroSAM2MRML.scene.bundle import unpack_bundle
    from NeuroSAM2MRML.trial import Trial

    if stage != "scene":
        findings.outcomes[f"{kind} ended the process"] += 1
        findings.defects.append(f"file {number} ({kind}) ended the process with {code}")
        return
    try:
        with tempfile.TemporaryDirectory() as folder, Trial() as trial:
            trial.read(unpack_bundle(root / "files" / "a.mrb", Path(folder)), "a.mrb", limit_s=SILENCE_S)
    except DataError:
        findings.outcomes[f"{kind} ended the trial, refused"] += 1
    else:
        findings.defects.append(f"file {number} ({kind}) ended the reader with {code}, but not the trial")


def read_files(root: Path, address: str, seed: int, first: int, end: int, until_s: float | None) -> None:
    """What the process that reads does; it says on standard output how far it is."""
    import faulthandler

    from NeuroSAM2MRML.headless import HeadlessApplication
    from NeuroSAM2MRML.scene.bundle import unpack_bundle
    from NeuroSAM2MRML.scene.files import read_nrrd, read_segmentation

    app, begin = HeadlessApplication(root / "home"), time.monotonic()
    sound = _sound_files(app, root)
    for number in range(first, end):
        if until_s is not None and time.monotonic() - begin > until_s:
            return
        kind = KINDS[number % len(KINDS)]
        damager = Damager(seed * 1_000_003 + number, root, address)
        path = root / "files" / f"a{kind}"
        path.write_bytes(damager.damage(damager.random.choice(sound[kind]), kind))
        _say("reads", number, kind, "file")
        faulthandler.dump_traceback_later(SILENCE_S, exit=True)
        try:
            if kind == ".nrrd":
                read_nrrd(app.scene, path, "a")
            elif kind == ".seg.nrrd":
                read_segmentation(app.scene, path, "a")
            else:
                with tempfile.TemporaryDirectory() as folder:
                    scene = unpack_bundle(path, Path(folder))
                    _say("reads", number, kind, "scene")
                    app.load_unpacked(scene)
            outcome = "opened"
        except NeuroSAM2Error as error:
            outcome = "refused"
            if len(str(error)) > 1000:
                _say("defect", f"a sentence of {len(str(error))} letters")
        except Exception:
            outcome = "traceback"
            _say("defect", " | ".join(traceback.format_exc().splitlines()[-3:]))
        faulthandler.cancel_dump_traceback_later()
        app.scene.Clear(0)
        _say("did", outcome)


def _sound_files(app: "HeadlessApplication", root: Path) -> dict[str, list[bytes]]:
    import numpy as np
    import slicer
    import vtk
    from NeuroSAM2MRML.scene.arrays import set_voxels
    from NeuroSAM2MRML.scene.files import add_volume, write_segmentation

    from NeuroSAM2Core.volume import Volume

    voxels = np.arange(120, dtype="<i2")
    directions = (
        b"space directions: (1,0,0) (0,0.9,0.1) (0,-0.1,2)\nspace origin: (1,2,3)\nkinds: domain domain domain\n"
    )
    images = [
        NRRD % (b"short", b"raw", b"space: left-posterior-superior\n" + directions) + voxels.tobytes(),
        NRRD % (b"short", b"gzip", b"space dimension: 3\n" + directions) + gzip.compress(voxels.tobytes()),
        NRRD % (b"short", b"raw", b'spacings: 1 1 2\naxis mins: 0 0 0\nunits: "mm" "mm" "mm"\n') + voxels.tobytes(),
        NRRD % (b"float", b"text", b"byte skip: 0\nold min: 0\n") + " ".join(map(str, voxels)).encode(),
    ]
    volume = add_volume(app.scene, Volume(voxels.reshape(4, 5, 6), np.diag((1.0, 1.0, 2.0, 1.0))), "T1")
    node = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for label in (1, 2):
        image = slicer.vtkOrientedImageData()
        set_voxels(image, (voxels.reshape(4, 5, 6) % 3 == label).astype(np.uint8))
        segment = slicer.vtkSegment()
        segment.SetName(f"object {label}")
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment)
    write_segmentation(node, root / "files" / "a.seg.nrrd")
    transform = app.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    app.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points").AddControlPoint(1, 2, 3)
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    app.scene.AddNewNodeByClass("vtkMRMLModelNode", "model").SetAndObservePolyData(sphere.GetOutput())
    app.scene.AddNewNodeByClass("vtkMRMLTextNode", "text").SetText("words")
    app.save(root / "files" / "a.mrb")
    app.scene.Clear(0)
    return {
        ".nrrd": images,
        ".seg.nrrd": [(root / "files" / "a.seg.nrrd").read_bytes()],
        ".mrb": [(root / "files" / "a.mrb").read_bytes()],
    }


def _scene_in(entries: list[tuple[str, bytes]]) -> int:
    return next(number for number, (name, _) in enumerate(entries) if name.endswith(".mrml"))


def _say(*words: object) -> None:
    os.write(3, ("\t".join(str(word).replace("\t", " ").replace("\n", " ") for word in words) + "\n").encode())


def main() -> int:
    """Reads as many files as time allows, and says what came of them."""
    if sys.argv[1:2] == ["--read"]:
        os.dup2(1, 3)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # VTK talks on standard output
        root, address, seed, first, end, until_s = sys.argv[2:]
        try:
            read_files(Path(root), address, int(seed), int(first), int(end), float(until_s) if until_s else None)
        except BaseException:
            _say("defect", "between two files: " + " | ".join(traceback.format_exc().splitlines()[-6:]))
            os._exit(1)
        os._exit(0)
    parser = argparse.ArgumentParser(description="damaged files through the app's own reading functions")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--files", type=int, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    begin = time.monotonic()
    findings = fuzz(seed=asked.seed, files=asked.files, seconds=60 * asked.minutes)
    print(f"{findings.count} files in {time.monotonic() - begin:.0f} s, seed {asked.seed}\n{findings.table()}")
    print("\n".join(findings.defects) or "no ended process, no traceback, nothing written outside, no request sent")
    return 1 if findings.defects else 0


if __name__ == "__main__":
    sys.exit(main())
