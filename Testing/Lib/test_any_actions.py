"""Whatever a person does in whatever order, with an engine that dies now and then.

No prompt is lost, no foreign voxel changes, statements are numbered upwards, and undo returns the exact bytes.
"""

import os

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from NeuroSAM2Lib.scene.segments.segment_writer import EditPolicy

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.prompts import BoxPrompt, ObjectPrompts, PointPrompt
from NeuroSAM2Core.remote import PredictSlice, RestoreSlice
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.fake_engine import answer_to
from Testing.Support.scenes import add_segmentation, make_app
from Testing.Support.sessions import SHAPE, SimulatedUser, place_point

indices = st.integers(0, SHAPE[0] - 1)
rows, cols = st.integers(0, SHAPE[1] - 1), st.integers(0, SHAPE[2] - 1)


class Actions(RuleBasedStateMachine):
    """The model: the prompts about each object, and the bytes that every step began with."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    @initialize()
    def sit_down(self):
        app = make_app(self.folder)
        node, (foreign,) = add_segmentation(app, "theirs")
        self.user = SimulatedUser(app, is_patient=True, segmentation=node)
        self.foreign = foreign
        rng = np.random.default_rng(1)
        self.foreign_mask = rng.random(SHAPE) > 0.6
        for k in range(SHAPE[0]):
            plane = SlicePlane(Axis.K, k)
            self.user.document.slice_io._writer.write(foreign, plane, self.foreign_mask[k], policy=EditPolicy())
        self.prompts = {}
        self.states, self.position = [], 0
        self.painted = set()
        history = app.edit_history(node)
        save = history.save

        def note_and_save():
            self.notice_late_answers()
            self.states = [*self.states[: self.position], self.state()][-20:]
            self.position = len(self.states)
            save()

        history.save = note_and_save

    def state(self):
        return self.user.bytes(), dict(self.prompts)

    @property
    def session(self):
        return self.user.session

    def set_prompts(self, change):
        number = self.user.document.active
        before = self.prompts.get(number, ObjectPrompts())
        try:
            after = change(before)
        except PromptError:
            after = before
        return number, after

    def expect(self, number, after):
        self.prompts[number if number is not None else self.user.document.active] = after

    @rule(index=indices, row=rows, col=cols, positive=st.booleans())
    def click(self, index, row, col, positive):
        plane = SlicePlane(Axis.K, index)
        number, after = self.set_prompts(lambda p: p.with_point(plane, PointPrompt(row, col, positive)))
        place_point(self.session, plane, row, col, positive=positive)
        self.expect(number, after)

    @rule(index=indices, row=rows, col=cols, size=st.integers(1, 9))
    def draw_box(self, index, row, col, size):
        plane = SlicePlane(Axis.K, index)
        box = BoxPrompt(row, col, min(row + size, SHAPE[1] - 1), min(col + size, SHAPE[2] - 1))
        number, after = self.set_prompts(lambda p: p.with_box(plane, box))
        self.session.add_box(plane, box)
        self.expect(number, after)

    @rule(index=indices)
    def remove_last_prompt(self, index):
        if self.user.document.active is not None:
            number, after = self.set_prompts(lambda p: p.without(index))
            self.session.remove_last_prompt(SlicePlane(Axis.K, index))
            self.expect(number, after)

    @rule()
    def delete_a_point_by_hand(self):
        number = self.user.document.active
        prompts = self.prompts.get(number)
        if number is None or not prompts or not any(p.point.positive for p in prompts.points):
            return
        first = next(p for p in prompts.points if p.point.positive)
        points = list(prompts.points)
        points.remove(first)
        after = ObjectPrompts(axis=prompts.axis, points=tuple(points), boxes=prompts.boxes, kept=prompts.kept)
        self.user.document.nodes.points_node(number, positive=True).RemoveNthControlPoint(0)
        self.expect(number, after if after.indices else ObjectPrompts())

    @rule(first=indices, last=indices)
    def propagate(self, first, last):
        number = self.user.document.active
        if number is None or not self.prompts.get(number, ObjectPrompts()).indices:
            return
        painted = set(self.user.document.slice_io.edited_by_hand(number))
        self.session.propagate(first=min(first, last), last=max(first, last))
        prompts = self.prompts[number]
        for plane in sorted(painted, key=lambda p: p.index):
            if plane not in prompts.planes:
                prompts = prompts.with_confirmed(plane)
        self.expect(number, prompts)

    @rule()
    def stop(self):
        self.session.stop()

    @rule(steps=st.integers(1, 4))
    def time_passes(self, steps):
        if self.user.engines.made:
            self.user.engines.last.work(steps)
        self.session.poll()

    @rule()
    def engine_dies(self):
        if self.user.engines.made:
            self.user.engines.last.kill()
            self.session.poll()
            self.session.retry()

    @rule()
    def another_object(self):
        if len(self.prompts) < 3:
            self.prompts[self.session.next_object()] = ObjectPrompts()

    @rule(number=st.integers(1, 3))
    def choose(self, number):
        segment = self.user.document.objects.segments.get(number)
        if segment is not None:
            self.session.choose(segment)

    @rule()
    def clear(self):
        if self.user.document.active is not None:
            self.session.clear()
            self.prompts[self.user.document.active] = ObjectPrompts()

    @rule(index=indices)
    def paint_by_hand(self, index):
        number = self.user.document.active
        if number is None:
            return
        plane = SlicePlane(Axis.K, index)
        self.user.app.edit_history(self.user.segmentation_node).save()
        mask = self.user.mask(plane, number)
        mask[index : index + 3, 2:5] ^= True
        segment = self.user.document.objects.segment_id(number)
        self.user.document.slice_io._writer.write(segment, plane, mask, policy=EditPolicy())
        self.painted.add((number, plane))

    def notice_late_answers(self):
        """An answer that comes after an undo is a change on top: there is nothing to redo any more."""
        is_late = self.position < len(self.states) and self.user.bytes() != self.states[self.position][0]
        if is_late:
            self.states = self.states[: self.position + 1]
            self.position += 1
        return is_late

    @rule()
    def undo(self):
        is_late = self.notice_late_answers()
        at_tip = self.position == len(self.states)
        tip = self.state()
        if not self.session.undo():
            return
        if at_tip:
            self.states.append(tip)
        self.position = max(self.position - (2 if is_late else 1), 0)
        self.arrive()

    @rule()
    def redo(self):
        if not self.session.redo():
            return
        self.position += 1
        self.arrive()

    def arrive(self):
        expected, prompts = self.states[self.position]
        assert self.user.bytes() == expected
        self.prompts = dict(prompts)

    @rule()
    def settle(self):
        self.user.settle()
        for number, prompts in self.prompts.items():
            if number not in self.user.document.objects.segments:
                continue
            for plane in prompts.planes:
                if (number, plane) not in self.painted and plane.index not in prompts.kept:
                    prompt_set = prompts.prompt_set(number, plane, revision=1, mask=None)
                    np.testing.assert_array_equal(
                        self.user.mask(plane, number), answer_to(prompt_set, SHAPE[1:]), err_msg=f"{number} {plane}"
                    )

    @invariant()
    def no_prompt_is_lost(self):
        for number in self.user.document.objects.segments:
            assert self.user.document.nodes.read(number, self.user.document.volume) == self.prompts[number]

    @invariant()
    def no_foreign_voxel_changes(self):
        for k in range(SHAPE[0]):
            there = self.user.document.slice_io._writer.read(self.foreign, SlicePlane(Axis.K, k))
            np.testing.assert_array_equal(there, self.foreign_mask[k])
        np.testing.assert_array_equal(self.user.document.volume.voxels, self.user.voxels)

    @invariant()
    def statements_are_numbered_upwards(self):
        numbers = {}
        for engine in self.user.engines.made:
            for request in engine.requests:
                if isinstance(request, PredictSlice | RestoreSlice) and request.prompts is not None:
                    prompts = request.prompts
                    numbers.setdefault((prompts.object_id, prompts.plane), []).append(prompts.revision)
        for revisions in numbers.values():
            assert revisions == sorted(set(revisions))


def test_any_sequence_of_actions_keeps_the_promises(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    run_state_machine_as_test(
        lambda: Actions(folder),
        settings=settings(
            max_examples=int(os.environ.get("NEUROSAM2_EXAMPLES", "50")),
            stateful_step_count=25,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # what fails is short enough to be read as it is
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
