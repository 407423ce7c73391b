"""Fetching a published model: resumed where it was cut, verified, converted once, installed in one move."""

import contextlib
import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from NeuroSAM2Core import disk
from NeuroSAM2Core.catalog import SET_HOME, CatalogEntry, models_folder
from NeuroSAM2Core.checkpoint.checkpoint import write_atomically
from NeuroSAM2Core.checkpoint.official import read_official
from NeuroSAM2Core.errors import Cancelled, CheckpointError, DataError, DownloadError
from NeuroSAM2Core.outputs import check_outputs
from NeuroSAM2Core.version import __version__

CHUNK = 1 << 20
TIMEOUT_S = 30.0

OnProgress = Callable[[int, int | None], None]


def download(
    entry: CatalogEntry,
    folder: Path | None = None,
    *,
    on_progress: OnProgress = lambda done, total: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Fetches and installs a model; a file that is already there is kept.

    Args:
        entry: From the catalog.
        folder: Where models are kept; the user's own if None.
        on_progress: Called with bytes done and bytes in all, if known.
        is_cancelled: Asked before every chunk.

    Returns:
        The installed safetensors file.

    Raises:
        DownloadError: It could not be reached or does not verify.
        Cancelled: `is_cancelled` said so; what was fetched is kept for the next try.
    """
    if entry.bundled:
        return entry.installed()
    folder = folder or models_folder()
    target = entry.installed(folder)
    try:
        if target.exists():
            return target
        folder.mkdir(parents=True, exist_ok=True)
        check_outputs([target])
    except (OSError, DataError) as error:
        reason = error.message if isinstance(error, DataError) else f"cannot write to {folder}: {error.strerror}"
        raise DownloadError(reason, hint=f"choose another --folder, or {SET_HOME}") from error
    part = folder / f"{entry.file_name}.part"
    _fetch(entry, part, on_progress, is_cancelled)
    digest = _verify(entry, part, folder)
    try:
        checkpoint = read_official(part, image_size=entry.image_size)
    except CheckpointError:
        disk.delete(part)
        raise
    provenance = replace(
        checkpoint.provenance,
        name=entry.name,
        source=entry.url,
        licence=entry.licence,
        source_sha256=digest,
        code_version=__version__,
    )
    replace(checkpoint, provenance=provenance).save(target)
    disk.delete(part)
    disk.delete(_about(part))
    return target


def _fetch(entry: CatalogEntry, part: Path, on_progress: OnProgress, is_cancelled: Callable[[], bool]) -> None:
    """Brings the part file to full length, from where it was left if the server still has the same file."""
    url = urlsplit(entry.url)
    if url.scheme != "https" and url.hostname not in ("127.0.0.1", "localhost"):
        raise DownloadError(f"{entry.url} is not an https address")
    have = part.stat().st_size if part.exists() else 0
    tag = _known_tag(part)
    request = urllib.request.Request(entry.url, headers={"User-Agent": f"neurosam2/{__version__}"})
    if have and tag:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            if answer.status != 206:
                have = 0
            _remember_tag(part, answer)
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            with part.open("ab" if have else "wb") as file:
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
                    have += len(chunk)
                    on_progress(have, total)
                    if is_cancelled():
                        raise Cancelled("the download was stopped; it goes on from there next time")
                file.flush()
                os.fsync(file.fileno())
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to send
            return
        raise DownloadError(
            f"{url.hostname} answered {error.code} {error.reason}", hint=_by_hand(entry, part)
        ) from error
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DownloadError(f"could not reach {url.hostname}: {reason}", hint=_by_hand(entry, part)) from error
    except OSError as error:
        raise DownloadError(
            f"cannot write {part}: {error.strerror or error}", hint="free some space and try again"
        ) from error
    if total is not None and have != total:
        raise DownloadError(
            f"the download ended after {have} of {total} bytes", hint="try again; it goes on from there"
        )


def _verify(entry: CatalogEntry, part: Path, folder: Path) -> str:
    """The file's SHA-256, checked against the published one or the one seen first."""
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()
    record = folder / f"{entry.file_name}.sha256"
    expected = entry.sha256 or (record.read_text(encoding="utf-8").split()[0] if record.exists() else "")
    if expected and found != expected:
        disk.delete(part)
        raise DownloadError(
            f"{entry.file_name} does not verify: SHA-256 {found[:16]}..., expected {expected[:16]}...",
            hint="it was deleted; try again, and do not use a copy from elsewhere",
        )
    if not expected:
        write_atomically(record, f"{found}  {entry.file_name}\n".encode())
    return found


def _by_hand(entry: CatalogEntry, part: Path) -> str:
    return f"without a network, fetch {entry.url} elsewhere and run `neurosam2 convert {entry.file_name} {entry.installed(part.parent)}`"


def _about(part: Path) -> Path:
    return part.with_suffix(".part.json")


def _known_tag(part: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads(_about(part).read_text(encoding="utf-8"))["tag"])
    return ""


def _remember_tag(part: Path, answer: HTTPResponse) -> None:
    tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    _about(part).write_text(json.dumps({"tag": "" if tag.startswith("W/") else tag}), encoding="utf-8")
