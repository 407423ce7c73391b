"""Selects the model: one of the catalog, downloaded with the user's consent, or a file."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.catalog import CatalogEntry, catalog, find, models_folder
from NeuroSAM2Core.errors import CheckpointError, DownloadError
from NeuroSAM2Core.processes import ProcessTree, exit_summary
from NeuroSAM2Lib.engine.link import EngineLink
from NeuroSAM2Lib.engine.programs import StartProgram
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.segmentation.host import Host
from NeuroSAM2Lib.segmentation.objects.session_node import ModelIdentity
from NeuroSAM2Lib.view_state import ModelRow, ModelView

HASH_BYTES = 8 << 20
"""Of a model file, hashed at a time: some ten milliseconds."""
END_S = 0.2
"""A download that is cancelled has so long to end by itself."""
OnChange = Callable[[ModelIdentity], None]


class ModelController:
    """The model chooser.

    Args:
        host: Asks for consent.
        link: Its engine loads the model.
        start: Starts the download.
        python: The interpreter that has torch, as the start of a command.
        on_change: Told of every new model, and again when its hash is known.
        folder: Where downloaded models are kept; the user's own if None.
    """

    def __init__(
        self,
        host: Host,
        link: EngineLink,
        start: StartProgram,
        python: Sequence[str],
        *,
        on_change: OnChange = lambda identity: None,
        folder: Path | None = None,
    ) -> None:
        self._host, self._link, self._start, self._python = host, link, start, tuple(python)
        self._on_change = on_change
        self._folder = folder or models_folder()
        self._download: tuple[CatalogEntry, ProcessTree] | None = None
        self._identity = ModelIdentity()
        self._hashing: Iterator[str] | None = None
        self.notice = ""

    @property
    def view(self) -> ModelView:
        """What the chooser shows."""
        used = self._link.model.model
        rows = tuple(
            ModelRow(
                name=entry.name,
                description=entry.description,
                licence=entry.licence,
                is_installed=entry.installed(self._folder).exists(),
                is_in_use=used in (entry.name, str(entry.installed(self._folder))),
            )
            for entry in catalog().values()
        )
        progress = None
        if self._download is not None:
            part = self._folder / f"{self._download[0].file_name}.part"
            progress = (part.stat().st_size if part.exists() else 0, None)
        path = "" if any(row.is_in_use for row in rows) else used
        return ModelView(rows=rows, path=path, download=progress, notice=self.notice)

    def use(self, name: str) -> bool:
        """A model of the catalog from now on; one that is not here is downloaded if the person agrees, and used then.

        Returns:
            Whether it is in use already.

        Raises:
            CheckpointError: There is no such model.
        """
        entry = find(name)
        installed = entry.installed(self._folder)
        if installed.exists():
            self._use(entry.name, installed)
            return True
        if self._download is not None:
            self.notice = _("{name} is being downloaded; one at a time").format(name=self._download[0].name)
            return False
        question = _("Download {description} ({licence}) from {url}?").format(
            description=entry.description, licence=entry.licence, url=entry.url
        )
        if not self._host.confirm(question):
            self.notice = _("{name} was not downloaded").format(name=entry.name)
            return False
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [*self._python, "-m", "NeuroSAM2Core", "download", entry.name, "--folder", str(self._folder)]
        self._download = entry, self._start(command, self._folder / f"{entry.name}.log")
        self.notice = _("downloading {name}").format(name=entry.name)
        return False

    def use_file(self, path: Path) -> None:
        """A model file of one's own from now on.

        Raises:
            CheckpointError: It is not there, or not a file of ours.
        """
        if path.suffix != ".safetensors" or not disk.is_file(path):
            raise CheckpointError(
                _("{path} is not a model file that can be used").format(path=path.name),
                hint=_("choose a .safetensors file; convert others first"),
            )
        self._use(str(path), path)

    def cancel_download(self) -> None:
        """Stops the download; what has come is kept for the next time."""
        if self._download is not None:
            self._download[1].end(END_S)
            self.notice = _("the download was stopped; it goes on from there next time")
            self._download = None

    def poll(self) -> None:
        """Sees whether a download has ended; its model is used then. Goes on with the hash of the model in use.

        Raises:
            DownloadError: It failed, with its last output.
        """
        self._hash_on()
        if self._download is None:
            return
        entry, process = self._download
        code = process.poll()
        if code is None:
            return
        self._download = None
        installed = entry.installed(self._folder)
        if code != 0 or not installed.exists():
            how = exit_summary(self._python[0], code, self._folder / f"{entry.name}.log")
            self.notice = _("the download of {name} failed: {how}").format(name=entry.name, how=how)
            raise DownloadError(self.notice, hint=_("try again; it goes on from there"))
        self._use(entry.name, installed)

    def _use(self, name: str, path: Path) -> None:
        is_known = name in catalog() and path == find(name).installed()
        self._link.use(replace(self._link.model, model=name if is_known else str(path)))
        self._identity = ModelIdentity(name=name if name in catalog() else path.stem)
        self._hashing = _hash_bit_by_bit(path)
        self.notice = _("{name} is used from now on").format(name=self._identity.name)
        self._on_change(self._identity)

    def _hash_on(self) -> None:
        """One bit of the hash; large files take many, and nobody waits for them. What the engine says it has read wins."""
        if self._link.sha256:
            self._hashing = None
            if self._identity.sha256 != self._link.sha256:
                used = self._link.model.model
                name = self._identity.name or (used if used in catalog() else Path(used).stem)
                self._identity = ModelIdentity(name=name, sha256=self._link.sha256)
                self._on_change(self._identity)
        elif self._hashing is not None and (sha256 := next(self._hashing)):
            self._hashing = None
            self._identity = replace(self._identity, sha256=sha256)
            self._on_change(self._identity)


def _hash_bit_by_bit(path: Path) -> Iterator[str]:
    """Empty strings, and at last the SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_BYTES):
            digest.update(chunk)
            yield ""
    yield digest.hexdigest()
