"""What the Open and Save dialogs do: a short list of files in the chosen folders, upload and download, progress, and sentences."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from NeuroSAM2Lib.scene.files.bundle import unpack_numbered
from NeuroSAM2Lib.scene.files.file_kinds import FileKind, kind_of, main_file, stem_of
from NeuroSAM2Lib.view_state import capitalized

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import Cancelled, NeuroSAM2Error
from NeuroSAM2Core.labels import ImageKind, only_table
from NeuroSAM2Core.volume.dicom import Series, find_series
from NeuroSAM2Web.file_io import FileIO, OpenedImage, Target
from NeuroSAM2Web.server.allowed_folders import AllowedFolders, check_name, size_text
from NeuroSAM2Web.server.transfer import Transfer

CLOSES_SCENE = "Opening a scene closes the one that is open, and what was not saved is lost. Open it?"


class FilePanel:
    """One for the app.

    Args:
        files: Opens and saves.
        folders: That may be used.
        scratch: A folder for files between the browser and the app.
        opened: Called after a file was opened.
    """

    def __init__(self, files: FileIO, folders: AllowedFolders, scratch: Path, opened: Callable[[], None]) -> None:
        self.files, self.folders, self._opened = files, folders, opened
        self.transfer = Transfer(scratch, self.receive)
        self.state = files.app_state.state
        self._tasks: set[asyncio.Task[None]] = set()
        self._answer: asyncio.Future[bool] | None = None
        self._chosen: asyncio.Future[str] | None = None
        self._kind: asyncio.Future[ImageKind] | None = None
        self.state.update(
            {
                "files_opens": False,
                "files_saves": False,
                "files_list": asdict(folders.listing()),
                "files_busy": "",
                "files_percent": -1,
                "files_problem": "",
                "files_said": "",
                "files_question": "",
                "files_series": [],
                "files_unsure": "",
                "files_largest": self.transfer.largest,
                "save_target": Target.NIFTI.name,
                "save_folder": self._home,
                "save_name": "",
                "save_replaces": "",
                "save_links": [],
            }
        )

    def show_open(self) -> None:
        """The list of the folder that was looked at last, or of the first one."""
        self.state.files_opens = True
        self.enter(self.state.files_list["folder"] or self._home)

    def enter(self, folder: str) -> None:
        """Another folder is shown; the list of chosen ones where it is empty."""
        with self._sentences():
            self.state.files_list = asdict(self.folders.listing(folder))

    def pick(self, path: str, is_folder: bool) -> None:
        """A line of the list was pressed."""
        if is_folder:
            self.enter(path)
        else:
            self.open(path)

    def open(self, text: str) -> None:
        """Opens a file by its path."""
        with self._sentences():
            path = self.folders.file(text)
            kind_of(path.name)
            self.state.files_opens = False
            self.start(self._open(path, path.name))

    def open_folder(self, text: str) -> None:
        """Opens a DICOM series of a folder."""
        with self._sentences():
            folder = self.folders.folder(text)
            self.state.files_opens = False
            self.start(self._open_series(folder, folder.name))

    def choose_series(self, key: str) -> None:
        """The person has chosen one of several series, by its place in the list; none where it is empty."""
        self.state.files_series = []
        if self._chosen is not None and not self._chosen.done():
            self._chosen.set_result(key)

    def choose_kind(self, name: str) -> None:
        """The person has said what the image is: a name of `ImageKind`; UNSURE opens nothing."""
        self.state.files_unsure = ""
        if self._kind is not None and not self._kind.done():
            self._kind.set_result(ImageKind[name])

    async def receive(self, path: Path, name: str) -> None:
        """Opens a file that was uploaded, or a folder of files that were sent together.

        Raises:
            NeuroSAM2Error: It cannot be opened.
        """
        with suppress(Cancelled):
            chosen = name if not disk.is_folder(path) else main_file([one.name for one in path.iterdir()])
            if chosen is None:
                await self._open_series(path, name)
            else:
                together = disk.is_folder(path)
                await self._open(path / chosen if together else path, chosen, only_table(path) if together else None)

    def answer(self, is_yes: bool) -> None:
        """The person has answered the question."""
        self.state.files_question = ""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(is_yes)

    def show_save(self) -> None:
        """The dialog, with a name that fits."""
        self.state.update({"files_saves": True, "save_folder": self.state.files_list["folder"] or self._home})
        self.choose_target(self.state.save_target)

    def choose_target(self, name: str) -> None:
        """Another kind of file is to be saved."""
        self.state.update({"save_target": name, "save_name": self.files.name_for(Target[name])})
        self.forget()

    def set_field(self, name: str, text: str) -> None:
        """Folder or name was typed."""
        self.state[name] = text
        self.forget()

    def forget(self) -> None:
        """What is to be saved has changed: the question about it is void."""
        self.transfer.offer([])
        self.state.update({"save_replaces": "", "save_links": []})

    def save(self, replaces: bool = False) -> None:
        """Saves into the folder; says so first where a file is there already."""
        with self._sentences():
            target, name = self._wanted()
            names = self.files.names_beside(target, name)
            paths = [self.folders.target(self.state.save_folder, one) for one in names]
            there = [one for one, path in zip(names, paths, strict=True) if path.exists()]
            if there and not replaces:
                self.state.save_replaces = f"Already there: {', '.join(there)}."
            else:
                self.start(self._save(target, paths[0], overwrite=replaces))

    def fetch(self) -> None:
        """Saves for the browser, and shows the links."""
        with self._sentences():
            target, name = self._wanted()
            check_name(name)
            self.start(self._fetch(target, self.transfer.temp_path(name)))

    def cancel(self) -> None:
        """The person gives up what is being opened or saved; files that are there stay as they are."""
        for task in self._tasks:
            task.cancel()

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Goes on with something while the page answers; a mistake becomes its sentence."""

        async def run() -> None:
            with self._sentences():
                await work
            self.state.flush()

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def _home(self) -> str:
        return str(self.folders.roots[0]) if self.folders.roots else ""

    def _wanted(self) -> tuple[Target, str]:
        target, name = Target[self.state.save_target], str(self.state.save_name).strip()
        return target, name if not name or name.lower().endswith(target.value) else name + target.value

    async def _open(self, path: Path, name: str, table: Path | None = None) -> None:
        if kind_of(name) is FileKind.SCENE and self.files.has_work and not await self._confirm(CLOSES_SCENE):
            return
        with self._busy(f"Opening {name}"):
            await self._flush_page()
            if kind_of(name) is not FileKind.DICOM:
                await self.files.open(path, name, self._asked_for_kind, table=table)
                self._opened()
                return
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            with self._busy(f"Unpacking {name}"):
                await asyncio.to_thread(unpack_numbered, path, Path(folder))
            await self._open_series(Path(folder), stem_of(name))

    async def _open_series(self, folder: Path, name: str) -> None:
        """A series of a folder; where there are several, the person is asked."""
        with self._busy(f"Looking into {name}"):
            await self._flush_page()
            found = await asyncio.to_thread(find_series, folder)
        chosen = "0" if len(found) == 1 else await self._asked_for(found)
        if not chosen:
            return
        with self._busy(f"Opening {name}"):
            await self._flush_page()
            await self.files.open_series(found[int(chosen)], name)
            self._opened()

    async def _asked_for(self, found: list[Series]) -> str:
        """The place in the list of the series that the person chooses; empty for none."""
        self.choose_series("")
        self._chosen = asyncio.get_running_loop().create_future()
        self.state.files_series = [
            {
                "key": str(number),
                "title": one.description or "without a description",
                "modality": one.modality,
                "slices": len(one.files),
                "size": f"{one.size[0]} x {one.size[1]}" if one.size[0] else "",
                "date": one.date,
                "folder": one.folder,
            }
            for number, one in enumerate(found)
        ]
        self.state.flush()
        return await self._chosen

    async def _asked_for_kind(self, opened: OpenedImage) -> ImageKind:
        """What the person says that an image is; what it is where there is no doubt.

        Raises:
            Cancelled: The person does not want to open it.
        """
        if opened.kind is not ImageKind.UNSURE:
            return opened.kind
        self.choose_kind(ImageKind.UNSURE.name)
        self._kind = asyncio.get_running_loop().create_future()
        self.state.files_unsure = opened.volume.name
        self.state.flush()
        kind = await self._kind
        if kind is ImageKind.UNSURE:
            raise Cancelled
        return kind

    async def _save(self, target: Target, path: Path, *, overwrite: bool) -> None:
        with self._busy(f"Saving {path.name}"):
            await self._flush_page()
            written = await self.files.save(target, path, overwrite=overwrite)
        self.forget()
        self.state.update({"files_saves": False, "files_said": f"Saved: {', '.join(map(str, written))}"})

    async def _fetch(self, target: Target, path: Path) -> None:
        with self._busy(f"Preparing {path.name}"):
            await self._flush_page()
            written = await self.files.save(target, path)
        addresses = self.transfer.offer(written)
        self.state.save_links = [
            {"name": one.name, "address": address, "size": size_text(one.stat().st_size)}
            for one, address in zip(written, addresses, strict=True)
        ]

    async def _confirm(self, question: str) -> bool:
        self.answer(False)
        self._answer = asyncio.get_running_loop().create_future()
        self.state.files_question = question
        self.state.flush()
        return await self._answer

    async def _flush_page(self) -> None:
        self.state.flush()
        await asyncio.sleep(0)

    @contextmanager
    def _busy(self, what: str) -> Iterator[None]:
        self.state.files_busy = what
        try:
            yield
        finally:
            self.state.files_busy = ""
            self.state.flush()

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        self.state.files_problem = ""
        try:
            with suppress(Cancelled):
                yield
        except NeuroSAM2Error as error:
            self.state.files_problem = capitalized(str(error))
