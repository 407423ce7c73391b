"""What every action of a session stands on: it begins when the session lasts and knows all, and ends as one step that can be taken back.

MRML is the only truth. An action changes the scene at once, as one undo step, and tells the engine; `SessionEvents` puts the
answers where they belong. Nothing here waits: whoever runs the session calls `poll` when the engine has something to say.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import slicer

from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.protocol import EngineSwitches
from NeuroSAM2MRML.engine.link import EngineLink
from NeuroSAM2MRML.i18n import tr as _
from NeuroSAM2MRML.objects.prompts import ObjectPrompts
from NeuroSAM2MRML.session.desk import SessionDesk
from NeuroSAM2MRML.session.engine_talk import EngineTalk
from NeuroSAM2MRML.session.events import SessionEvents
from NeuroSAM2MRML.session.host import Host
from NeuroSAM2MRML.session.outcomes import Journey
from NeuroSAM2MRML.session.preview import Preview

NEW_IMAGE = _("the image has changed: masks stay as they are, and further answers are for the image as it is now")


class SessionFrame:
    """One volume, one segmentation, one engine.

    Args:
        host: Runs the session.
        link: The way to the engine; nobody else polls it while the session lasts.
        volume_node: The image.
        segmentation_node: What the objects are segments of.

    Raises:
        DataError: The volume cannot be worked on.
        GeometryError: A non-linear transform is above it.
    """

    def __init__(
        self,
        host: Host,
        link: EngineLink,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
    ) -> None:
        self.desk = SessionDesk(host, volume_node, segmentation_node)
        self.link = link
        self.talk = EngineTalk(link, lambda object_id, plane: self.desk.keeper.read(object_id, plane))
        self.talk.revision = self.desk.node.revision
        self.preview = Preview(self.desk, self.talk)
        """What a click would give; say `preview.point` while the pointer moves, and `preview.leave` when it leaves."""
        self._events = SessionEvents(self.desk, self.talk, self.preview)
        self._notice, self._is_trouble = "", False
        self.ended = ""
        """Why the session is over; empty while it is not."""
        self.stopped: Journey | None = None
        """The propagation that was stopped last, if it may go on."""

    @property
    def notice(self) -> str:
        """The last sentence for the person; the next action ends it, and one on a trouble with the engine the next mask, too."""
        return self._notice

    @notice.setter
    def notice(self, notice: str) -> None:
        self._notice, self._is_trouble = notice, False

    def undo(self) -> bool:
        """Takes the last step back, whoever made it; a propagation under way is given up first."""
        return self._travel(self.desk.steps.undo)

    def redo(self) -> bool:
        """Brings back what was undone."""
        return self._travel(self.desk.steps.redo)

    def warm_up(self) -> None:
        """Starts the engine, sends the volume, and asks what the scene holds without an answer."""
        self._try(lambda: self.talk.catch_up(self.desk.volume, self.desk.records))

    def switch(self, switches: EngineSwitches) -> None:
        """The engine does these things from now on. Masks stay as they are; it is told all of them, and goes on with what it was at."""
        self.notice = ""
        if self.talk.switch(switches):
            self.preview.leave()
            self.warm_up()

    def retry(self) -> None:
        """Tries again with an engine that was given up on."""
        self.notice = ""
        self.link.retry()
        self.warm_up()

    def sync_prompts(self) -> None:
        """Takes over what other hands did to the prompt nodes: placed, moved, deleted."""
        if self.desk.is_writing or self.ended:
            return
        for number in self.desk.objects.segments:
            before = self.desk.objects.record(number).prompts
            said = self.desk.nodes.read(number, self.desk.volume).keeping_readings_since(before)
            more = len(said.points) - len(before.points)
            self._say(
                number, said, _("Place point") if more > 0 else _("Delete prompts") if more < 0 else _("Move prompts")
            )

    @property
    def has_more(self) -> bool:
        """The last `poll` has left something for the next one, which is due at once."""
        return self._events.has_more

    def poll(self) -> None:
        """Takes in what the engine has to say, for a moment. Never waits; what a person can mend is said in `notice`, not raised."""
        events = self.link.poll()
        if self.ended:
            return
        self._follow_history()
        for news in self._events.take_in(events):
            if news.is_mask and self._is_trouble:
                self.notice = ""
            if news.sentence:
                self._notice, self._is_trouble = news.sentence, news.is_trouble
        self.preview.go_on()
        self.desk.surfaces.follow(is_resting=self.talk.journey is None and not self.talk.is_waiting)

    def end(self, reason: str) -> None:
        """The session is over. Prompts, masks and the journal stay."""
        if not self.ended:
            self.preview.leave()
            self._try(self.talk.abandon)
            self.ended = self.notice = reason

    @contextmanager
    def _acting(self) -> Iterator[None]:
        """An action may begin: the session lasts, the volume is as it was read, the nodes say what is known."""
        if self.ended:
            raise DataError(self.ended, hint=_("choose a volume and a segmentation to go on"))
        self.notice = ""
        if self.desk.notice_new_image():
            self.talk.forget_volume()
            self.notice = NEW_IMAGE
        self._follow_history()
        self.sync_prompts()
        yield
        self.notice = self.desk.journal.problem or self.notice

    def _say(self, number: int | None, prompts: ObjectPrompts, name: str) -> None:
        news = self.desk.say(number, prompts, name)
        if news is not None:
            self.preview.leave()
            for plane in news[1]:
                self.talk.restate(news[0], plane)
            self.warm_up()

    def _travel(self, go: Callable[[], bool]) -> bool:
        if self.ended:
            return False
        self.notice = ""
        self.preview.leave()
        self.talk.abandon()
        self.stopped = None
        with self.desk.writing():
            has_moved = go()
        self._follow_history(has_moved=has_moved)
        return has_moved

    def _follow_history(self, *, has_moved: bool = False) -> None:
        changed = self.desk.follow_history(has_moved=has_moved)
        for number in changed:
            self.talk.forget(number)
        if changed:
            self.talk.abandon()
            self.warm_up()

    def _try(self, act: Callable[[], None]) -> None:
        """Does something with the engine; what goes wrong is said, and what was said to it stays to be said again."""
        try:
            act()
        except NeuroSAM2Error as error:
            self._notice, self._is_trouble = str(error), True
