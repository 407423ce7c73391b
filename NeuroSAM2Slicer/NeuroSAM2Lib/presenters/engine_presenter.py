"""The presenter of the engine section: applies or tests settings, downloads models, and reports the result.

The Test button: runs the chosen engine on a small volume and reports its speed or its error.

It never waits: whoever runs it calls `poll` when the engine has something to say, or now and then.

Selects the model: one of the catalog, downloaded with the user's consent, or a file.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from NeuroSAM2Core import disk
from NeuroSAM2Core.catalog import CatalogEntry, catalog, find, models_folder
from NeuroSAM2Core.errors import CheckpointError, DownloadError, NeuroSAM2Error, WorkerError
from NeuroSAM2Core.processes import ProcessTree, exit_summary
from NeuroSAM2Core.prompts import BoxPrompt, PromptSet
from NeuroSAM2Core.remote import Disconnected, Event, Failed, LoadModel, ModelLoaded, PredictSlice, SliceAnswered
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.engine.choice import EngineChoice, StartProgram
from NeuroSAM2Lib.engine.link import Engine, EngineLink
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.segmentation.host import Host
from NeuroSAM2Lib.segmentation.objects.session_node import ModelIdentity
from NeuroSAM2Lib.view_state import ModelRow, ModelView

SHAPE = (3, 128, 128)
LIMIT_S = 120.0
NUM_TIMED = 2
"""Clicks on a slice whose features are known; the last one is timed."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a test."""

    is_good: bool
    sentence: str


class EngineCheck:
    """One test.

    Args:
        engine: A client of its own; closed when the test ends.
        model: What it is to load.
    """

    def __init__(self, engine: Engine, model: LoadModel) -> None:
        self.engine = engine
        self.result: CheckResult | None = None
        self._began = self._asked = time.monotonic()
        self._loaded: ModelLoaded | None = None
        self._ready_s = 0.0
        self._times: list[float] = []
        volume = _ball()
        engine.submit(model)
        self._volume_id = engine.volume_id(engine.open_volume(volume))
        self._ask()

    def poll(self) -> CheckResult | None:
        """The result, once there is one."""
        if self.result is None:
            for event in self.engine.poll():
                self._take(event)
        if self.result is None and time.monotonic() - self._began > LIMIT_S:
            self._end(
                is_good=False, sentence=_("The engine did not answer within {limit_s:.0f} s.").format(limit_s=LIMIT_S)
            )
        return self.result

    def cancel(self) -> None:
        """The person does not want to know any more."""
        if self.result is None:
            self._end(is_good=False, sentence=_("The test was cancelled."))

    def _take(self, event: Event) -> None:
        if self.result is not None:
            return
        match event:
            case ModelLoaded():
                self._loaded = event
            case SliceAnswered():
                self._ready_s = self._ready_s or time.monotonic() - self._began
                self._times.append(time.monotonic() - self._asked)
                if len(self._times) <= NUM_TIMED:
                    self._ask()
                else:
                    self._end(is_good=True, sentence=self._success_message())
            case Failed():
                self._end(is_good=False, sentence=str(event.to_error()))
            case Disconnected():
                self._end(is_good=False, sentence=str(WorkerError(event.reason, hint=event.hint)))
            case _:
                pass

    def _ask(self) -> None:
        self._asked = time.monotonic()
        prompts = PromptSet(
            object_id=1,
            plane=SlicePlane(Axis.K, 1),
            box=BoxPrompt(40.0, 40.0, 88.0, 88.0),
            revision=len(self._times) + 1,
        )
        self.engine.submit(PredictSlice(volume_id=self._volume_id, prompts=prompts))

    def _success_message(self) -> str:
        assert self._loaded is not None
        return _(
            "It works: {model} on {device}, first mask after {ready_s:.1f} s, then {answer_ms:.0f} ms from click to mask."
        ).format(
            model=self._loaded.model,
            device=self._loaded.device,
            ready_s=self._ready_s,
            answer_ms=self._times[-1] * 1000,
        )

    def _end(self, *, is_good: bool, sentence: str) -> None:
        self.result = CheckResult(is_good, sentence)
        self.engine.close()


def _ball() -> Volume:
    """A bright disc on every slice."""
    rows, cols = np.mgrid[: SHAPE[1], : SHAPE[2]]
    disc = ((rows - 64) ** 2 + (cols - 64) ** 2 < 20**2).astype(np.int16) * 100
    return Volume(np.ascontiguousarray(np.broadcast_to(disc, SHAPE)), np.eye(4), name="test")


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
        self._entries = [(entry, entry.installed(self._folder)) for entry in catalog().values()]
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
                is_installed=path.exists(),
                is_in_use=used in (entry.name, str(path)),
            )
            for entry, path in self._entries
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


TESTING = _("Testing. Starting an engine takes a few seconds.")
IN_USE = _("In use from now on")


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineViewModel:
    """What the section shows."""

    titles: tuple[str, ...]
    """Of the models of the catalog, in its order."""
    sentence: str
    is_testing: bool
    is_downloading: bool


class EnginePresenter:
    """The section.

    Args:
        models: The chooser in force; asked for each time, since each engine has its own.
        use: Puts a choice to work.
        start: Starts an engine, for the test.
    """

    def __init__(
        self,
        models: Callable[[], ModelController],
        use: Callable[[EngineChoice], None],
        start: Callable[[EngineChoice], Engine],
    ) -> None:
        self._models, self._use, self._start = models, use, start
        self._check: EngineCheck | None = None
        self._sentence = self._notice = ""

    @property
    def view(self) -> EngineViewModel:
        """What the section shows."""
        models = self._models().view
        sentence = self._sentence
        if models.download is not None:
            sentence = _("{notice}: {megabytes:.0f} MB so far").format(
                notice=models.notice, megabytes=models.download[0] / 1e6
            )
        return EngineViewModel(
            titles=tuple(map(_title, models.rows)),
            sentence=sentence[:1].upper() + sentence[1:],
            is_testing=self._check is not None,
            is_downloading=models.download is not None,
        )

    def use(self, choice: EngineChoice) -> None:
        """Puts a choice to work; reports what is wrong with it."""
        try:
            self._use(choice)
        except NeuroSAM2Error as error:
            self._sentence = str(error)
            return
        self._notice = self._models().notice
        self._sentence = self._notice or IN_USE

    def test(self, choice: EngineChoice) -> None:
        """Tries a choice on a small volume; ends the test where one runs."""
        if self._check is not None:
            self._check.cancel()
            self.poll()
            return
        try:
            choice.check()
            self._check = EngineCheck(self._start(choice), choice.load_model)
        except NeuroSAM2Error as error:
            self._sentence = str(error)
            return
        self._sentence = TESTING

    def cancel_download(self) -> None:
        """Stops it; what has come is kept."""
        self._models().cancel_download()

    def poll(self) -> bool:
        """Goes on with a test and a download; true while one runs."""
        notice = self._models().notice
        if notice != self._notice:
            self._notice = self._sentence = notice
        result = None if self._check is None else self._check.poll()
        if result is not None:
            self._check = None
            self._sentence = result.sentence
        return self._check is not None or self._models().view.download is not None

    def close(self) -> None:
        """Ends a test."""
        if self._check is not None:
            self._check.cancel()
            self._check = None


def _title(row: ModelRow) -> str:
    return f"{row.name}: {row.description}" + ("" if row.is_installed else _(" (to be downloaded)"))
