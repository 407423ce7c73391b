"""Files between the browser and the app, over plain HTTP behind the authentication.

An upload goes straight to the disk, up to a bound. Files that belong together, such as those of a DICOM series, come one after the other.
"""

import asyncio
import re
import secrets
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aiohttp import hdrs, web
from NeuroSAM2Lib.scene.files.file_kinds import kind_of
from NeuroSAM2Lib.view_state import capitalized

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Web.server.allowed_folders import size_text

UPLOAD, DOWNLOADS = "/files/upload", "/files/download"
MAX_UPLOAD_BYTES = 4 * 10**9
MAX_PAUSE_S = 60.0
PIECE = 1 << 20
BATCH = re.compile(r"[0-9a-f]{8,40}")
"""What the page may call files that it sends together."""
Received = Callable[[Path, str], Awaitable[None]]


class Transfer:
    """Uploads and downloads.

    Args:
        folder: For files on their way; emptied by its owner.
        on_received: Takes an uploaded file and the name it had; where several were sent together, their folder and how many.
        largest: Bytes that an upload may have.
        max_pause_s: For how long one may stand still.
    """

    def __init__(
        self,
        folder: Path,
        on_received: Received,
        *,
        largest: int = MAX_UPLOAD_BYTES,
        max_pause_s: float = MAX_PAUSE_S,
    ) -> None:
        self.largest, self.max_pause_s = largest, max_pause_s
        self._folder, self._on_received = folder, on_received
        self._offered: dict[str, Path] = {}
        self._batch = _Batch("", folder)

    def routes(self) -> list[web.RouteDef]:
        """For the server."""
        return [web.post(UPLOAD, self._upload), web.get(DOWNLOADS + "/{key}", self._download)]

    def offer(self, paths: Sequence[Path]) -> list[str]:
        """The addresses under which files in temporary folders can be downloaded, until others are offered."""
        for path in self._offered.values():
            _delete(path)
        self._offered = {secrets.token_urlsafe(16): path for path in paths}
        return [f"{DOWNLOADS}/{key}" for key in self._offered]

    def temp_path(self, name: str) -> Path:
        """A path for a file of that name, in a folder of its own."""
        folder = self._folder / secrets.token_hex(8)
        folder.mkdir()
        return folder / disk.file_name(name)

    async def _upload(self, request: web.Request) -> web.Response:
        name = Path(request.query.get("name", "").replace("\\", "/")).name
        if "batch" in request.query:
            return await self._upload_part(request, name)
        try:
            kind_of(name)
            self._check_size(name, request.content_length or 0)
            path = self.temp_path(name)
        except (DataError, OSError, ValueError) as error:
            return web.Response(status=413 if isinstance(error, TooLargeError) else 400, text=capitalized(str(error)))
        try:
            await self._receive(request, path)
            await self._on_received(path, name)
        except NeuroSAM2Error as error:
            return web.Response(status=413 if isinstance(error, TooLargeError) else 400, text=capitalized(str(error)))
        except TimeoutError:
            return web.Response(status=408, text=f"The upload of {name} stood still; try again.")
        except OSError as error:
            return web.Response(status=507, text=f"{name} could not be stored: {error.strerror or error}")
        finally:
            _delete(path)
        return web.Response(text="")

    async def _upload_part(self, request: web.Request, name: str) -> web.Response:
        """One of several files that are sent one after the other; with the last one they are passed on, as a folder."""
        key, left = request.query["batch"], request.query.get("left", "")
        if not BATCH.fullmatch(key) or not left.isdecimal() or not name:
            return web.Response(status=400, text="These files could not be sent; try again.")
        if key != self._batch.key:
            self._batch.delete()
            self._batch = _Batch(key, self.temp_path("all"))
            self._batch.folder.mkdir()
        batch, is_done = self._batch, False
        path = batch.path_for(name)
        try:
            batch.size = await self._receive(request, path, batch.size)
            is_done = int(left) == 0
            if is_done:
                await self._on_received(batch.folder, f"{batch.count} files")
        except NeuroSAM2Error as error:
            is_done = True
            return web.Response(status=413 if isinstance(error, TooLargeError) else 400, text=capitalized(str(error)))
        except TimeoutError:
            return web.Response(status=408, text=f"The upload of {name} stood still; try again.")
        except OSError as error:
            return web.Response(status=507, text=f"{name} could not be stored: {error.strerror or error}")
        finally:
            if is_done:
                batch.delete()
        return web.Response(text="")

    async def _receive(self, request: web.Request, path: Path, size: int = 0) -> int:
        """Stores what comes; returns its size on top of that of what has come before."""
        with path.open("wb") as file:
            while True:
                async with asyncio.timeout(self.max_pause_s):
                    piece = await request.content.read(PIECE)
                if not piece:
                    return size
                size += len(piece)
                self._check_size(path.name, size)
                file.write(piece)

    def _check_size(self, name: str, size: int) -> None:
        if size > self.largest:
            raise TooLargeError(
                f"{name} is too large to upload; at most {size_text(self.largest)}",
                hint="put it into a folder of this computer and open it from there",
            )

    async def _download(self, request: web.Request) -> web.StreamResponse:
        path = self._offered.get(request.match_info["key"])
        if path is None:
            return web.Response(status=404, text="This file is not here any more; save it again.")
        disposition = f"attachment; filename*=UTF-8''{quote(path.name, safe='')}"
        return web.FileResponse(
            path, headers={hdrs.CONTENT_DISPOSITION: disposition, hdrs.CONTENT_TYPE: "application/octet-stream"}
        )


@dataclass(slots=True)
class _Batch:
    """Files that belong together."""

    key: str
    """Chosen by the page; empty for none."""
    folder: Path
    size: int = 0
    """Of all that have come, bytes."""
    count: int = 0

    def path_for(self, name: str) -> Path:
        """Where the next file goes: under its name, if none that came before has it."""
        self.count += 1
        path = self.folder / disk.file_name(name)
        return path.with_name(f"{self.count} {path.name}") if path.exists() else path

    def delete(self) -> None:
        """Deletes them."""
        if self.key:
            shutil.rmtree(self.folder.parent, ignore_errors=True)


class TooLargeError(DataError):
    """An upload that is larger than it may be."""


def _delete(path: Path) -> None:
    """Deletes a file and its temporary folder."""
    with suppress(OSError):  # it goes with the folder where it is still being read
        disk.delete(path)
        path.parent.rmdir()
