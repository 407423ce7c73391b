"""Fetching a published model: resumed where it was cut, verified, converted once, installed in one move."""

import contextlib
import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from NeuroSAM2Core import disk
from NeuroSAM2Core.catalog import SET_HOME, CatalogEntry, models_folder
from NeuroSAM2Core.checkpoint.checkpoint import Checkpoint, write_atomically
from NeuroSAM2Core.checkpoint.official import official_model, read_bytes
from NeuroSAM2Core.decoding import decoded, parse_json
from NeuroSAM2Core.errors import Cancelled, CheckpointError, DataError, DownloadError
from NeuroSAM2Core.model import PRESETS
from NeuroSAM2Core.outputs import check_outputs
from NeuroSAM2Core.version import __version__

CHUNK = 1 << 20
TIMEOUT_S = 30.0
MAX_BYTES = 2 << 30
"""Of a file whose size no public source states."""
LOCAL = ("127.0.0.1", "localhost")
PROVEN = "# loaded as "
"""Stands in a record of a hash that was made after the file had been loaded as that model; older records are no evidence."""

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
        Cancelled: `is_cancelled` returned true; what was fetched is kept for the next try.
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
    try:
        checkpoint = _checked(entry, part, folder)
    except (CheckpointError, DownloadError):
        _drop(part)
        raise
    checkpoint.save(target)
    _drop(part)
    return target


def _checked(entry: CatalogEntry, part: Path, folder: Path) -> Checkpoint:
    """The model in a file that came, which is the one it should be. What is hashed and what is loaded are the same bytes."""
    content = read_bytes(part)
    if content[:CHUNK].lstrip().startswith(b"<"):
        raise DownloadError(f"{_host(entry)} sent a web page, not a model", hint=_manual_download_hint(entry, part))
    digest = hashlib.sha256(content).hexdigest()
    record = folder / f"{entry.file_name}.sha256"
    expected = entry.sha256 or _recorded(record)
    if expected and digest != expected:
        hint = "it was deleted; try again, and do not use a copy from elsewhere"
        raise DownloadError(
            f"{entry.file_name} does not verify: SHA-256 {digest[:16]}..., expected {expected[:16]}...",
            hint=hint if entry.sha256 else f"{hint}; if its publisher has changed it, delete {record} first",
        )
    checkpoint = official_model(content, entry.file_name, image_size=entry.image_size, sha256=digest)
    if entry.architecture:
        expected_config = replace(PRESETS[entry.architecture], image_size=checkpoint.config.image_size)
        if checkpoint.config != expected_config:
            found = checkpoint.provenance.notes
            raise DownloadError(f"{entry.file_name} is not {entry.name}: {found}, expected {entry.architecture}")
    if not entry.sha256:
        write_atomically(record, f"{digest}  {entry.file_name}\n{PROVEN}{entry.name}\n".encode())
    provenance = replace(
        checkpoint.provenance, name=entry.name, source=entry.url, licence=entry.licence, code_version=__version__
    )
    return replace(checkpoint, provenance=provenance)


def _recorded(record: Path) -> str:
    """The hash that this file had before, where it had been found to be that model; empty otherwise."""
    with contextlib.suppress(OSError, ValueError):
        first, comparison, *_ = disk.read_text(record).splitlines() + [""] * 2
        if comparison.startswith(PROVEN):
            return first.partition(" ")[0]
    return ""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only; on this machine also to itself."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """The next request, or an end in a sentence."""
        url = urlsplit(newurl)
        if not (url.scheme == "https" or (urlsplit(req.full_url).hostname in LOCAL and url.hostname in LOCAL)):
            fp.close()
            raise DownloadError(
                f"{urlsplit(req.full_url).hostname} sent on to {newurl[:200]}, which is not an https address"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(entry: CatalogEntry, part: Path, on_progress: OnProgress, is_cancelled: Callable[[], bool]) -> None:
    """Brings the part file to full length, from where it was left if the server still has the same file."""
    url = urlsplit(entry.url)
    if url.scheme != "https" and url.hostname not in LOCAL:
        raise DownloadError(f"{entry.url} is not an https address")
    have = part.stat().st_size if part.exists() else 0
    tag = _known_tag(part)
    request = urllib.request.Request(entry.url, headers={"User-Agent": f"neurosam2/{__version__}"})
    if have and tag:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag)
    else:
        have = 0
    try:
        with urllib.request.build_opener(_SafeRedirects()).open(request, timeout=TIMEOUT_S) as answer:
            have, total = _begun(entry, part, answer, have, tag)
            limit = entry.num_bytes or MAX_BYTES
            with _writing(part), part.open("ab" if have else "wb") as file:
                if not have:
                    _remember_tag(part, answer)
                while chunk := _read(answer):
                    have += len(chunk)
                    if have > limit:
                        raise _too_large(entry, have, limit)
                    file.write(chunk)
                    on_progress(have, total)
                    if is_cancelled():
                        raise Cancelled("the download was stopped; it goes on from there next time")
                file.flush()
                os.fsync(file.fileno())
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing is left to send
            return
        raise DownloadError(
            f"{url.hostname} answered {error.code} {error.reason}", hint=_manual_download_hint(entry, part)
        ) from error
    except _TooLargeError as error:
        _drop(part)
        raise DownloadError(error.message, hint=_manual_download_hint(entry, part)) from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(
            f"could not reach {url.hostname}: {reason}", hint=_manual_download_hint(entry, part)
        ) from error
    if total is not None and have != total:
        raise DownloadError(
            f"the download ended after {have} of {total} bytes", hint="try again; it goes on from there"
        )


def _begun(entry: CatalogEntry, part: Path, answer: HTTPResponse, have: int, tag: str) -> tuple[int, int | None]:
    """How many bytes of the file are here as an answer begins, and how many there will be, if known.

    Raises:
        DownloadError: It is no answer to what was asked, or not with a model.
    """
    host = _host(entry)
    if answer.status not in (200, 206):
        raise DownloadError(f"{host} answered {answer.status} {answer.reason}", hint=_manual_download_hint(entry, part))
    if "html" in answer.headers.get("Content-Type", "").lower():
        raise DownloadError(f"{host} sent a web page, not a model", hint=_manual_download_hint(entry, part))
    length = (answer.headers.get("Content-Length") or "").strip()
    if length and not (length.isascii() and length.isdigit() and len(length) < 16):
        raise DownloadError(
            f"{host} sent an unusable Content-Length: {length[:40]!r}", hint=_manual_download_hint(entry, part)
        )
    if answer.status == 200:
        have = 0
    elif not answer.headers.get("Content-Range", f"bytes {have}-").startswith(f"bytes {have}-") or _tag(answer) not in (
        "",
        tag,
    ):
        _drop(part)
        raise DownloadError(f"{host} sent another part of the file than was asked for", hint="try again from the start")
    total = have + int(length) if length else None
    limit = entry.num_bytes or MAX_BYTES
    if total is not None and total > limit:
        raise _too_large(entry, total, limit)
    if entry.num_bytes and total not in (None, entry.num_bytes):
        raise DownloadError(
            f"{host} has {total:,} bytes under {entry.file_name}, expected {entry.num_bytes:,}: it is another file",
            hint=_manual_download_hint(entry, part),
        )
    return have, total or entry.num_bytes or None


class _TooLargeError(DownloadError):
    """More came than the model has."""


def _too_large(entry: CatalogEntry, count: int, limit: int) -> _TooLargeError:
    return _TooLargeError(f"{_host(entry)} sends {count:,} bytes or more; {entry.name} has no more than {limit:,}")


def _read(answer: HTTPResponse) -> bytes:
    """The next bytes of an answer; a failure of the network is told from one of the disk."""
    try:
        return answer.read(CHUNK)
    except (OSError, HTTPException) as error:
        raise urllib.error.URLError(str(error) or type(error).__name__) from error


@contextlib.contextmanager
def _writing(part: Path) -> Iterator[None]:
    try:
        yield
    except urllib.error.URLError:
        raise
    except OSError as error:
        raise DownloadError(
            f"cannot write {part}: {error.strerror or error}", hint="free some space and try again"
        ) from error


def _host(entry: CatalogEntry) -> str:
    return urlsplit(entry.url).hostname or entry.url


def _manual_download_hint(entry: CatalogEntry, part: Path) -> str:
    return f"without a network, fetch {entry.url} elsewhere and run `neurosam2 convert {entry.file_name} {entry.installed(part.parent)}`"


def _drop(part: Path) -> None:
    """Deletes what came, and what is known of it."""
    disk.delete(_metadata(part))
    disk.delete(part)


def _metadata(part: Path) -> Path:
    return part.with_suffix(".part.json")


def _known_tag(part: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return decoded(dict[str, str], parse_json(disk.read_text(_metadata(part))), "").get("tag", "")
    return ""


def _tag(answer: HTTPResponse) -> str:
    """What tells this file from a later one of its name; empty where the server gives nothing that is sure."""
    tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    return "" if tag.startswith("W/") else tag


def _remember_tag(part: Path, answer: HTTPResponse) -> None:
    _metadata(part).write_text(json.dumps({"tag": _tag(answer)}), encoding="utf-8")
