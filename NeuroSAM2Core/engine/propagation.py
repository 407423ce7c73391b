"""One pass: slice after slice away from a confirmed one, each seeing what is remembered of those before it."""

from collections.abc import Iterable, Iterator

from NeuroSAM2Core.engine.appearance import Appearance, learn_appearance
from NeuroSAM2Core.engine.feature_cache import FeatureCache
from NeuroSAM2Core.engine.memory_bank import MemoryBank, SliceMemory
from NeuroSAM2Core.engine.memory_selection import MemoryRules
from NeuroSAM2Core.engine.options import EngineOptions
from NeuroSAM2Core.engine.passes import Pass
from NeuroSAM2Core.engine.precision import computing
from NeuroSAM2Core.engine.track import ObjectTrack, SliceState
from NeuroSAM2Core.model import SAM2, ImageFeatures, MaskPrediction

MAX_EXAMPLES = 8
"""Confirmed slices that an appearance is learned from."""


def run_pass(
    model: SAM2, cache: FeatureCache, track: ObjectTrack, run: Pass, options: EngineOptions, *, num_slices: int
) -> Iterator[int]:
    """Does the slices of a pass that are not done yet, and yields each one's number once its state is in the track.

    The generator may be dropped between slices: what is done stays, and the same pass goes on from there.
    """
    done = done_of(track, run, options)
    bank = begin_memory(model, track, options, num_slices=num_slices)
    appearance = appearance_of(model, cache, track, options, run.start, track.confirmed)
    seen = track.tracked if options.sweeps else run.slices[:done]
    bank.recent = {n: track.tracked[n].memory for n in seen if n in track.tracked}
    absent = 0
    for count, number in enumerate(run.slices[done:], start=done + 1):
        if number in track.confirmed:  # only where passes sweep over them
            track.progress[run] = count
            continue
        before = track.state(number - run.step)
        with computing(model, is_exact=options.is_exact):  # not around the yield: it would hold for whoever asks
            features = cache.get(number, upcoming=run.slices[count:])
            state = track_slice(model, features, bank, appearance, before, number, options, reverse=run.step < 0)
        bank.recent[number] = state.memory
        track.tracked[number] = state
        track.progress[run] = count
        yield number
        absent = 0 if state.presence_logit > 0 else absent + 1
        if absent == options.stop_after_absent:
            track.progress[run] = len(run.slices)
            return


def done_of(track: ObjectTrack, run: Pass, options: EngineOptions) -> int:
    """How many slices of a pass need not be done; passes that sweep over each other's slices know only what they noted."""
    if options.sweeps:
        return track.progress.get(run, 0)
    return track.done_of(run, stop_after_absent=options.stop_after_absent)


def begin_memory(model: SAM2, track: ObjectTrack, options: EngineOptions, *, num_slices: int) -> MemoryBank:
    """A bank that remembers the confirmed slices and nothing else yet."""
    bank = MemoryBank(memory_rules(model, options), num_slices, keys={})
    bank.conditioning = {n: state.memory for n, state in track.confirmed.items()}
    return bank


def appearance_of(
    model: SAM2, cache: FeatureCache, track: ObjectTrack, options: EngineOptions, number: int, confirmed: Iterable[int]
) -> Appearance | None:
    """What the object looks like on the confirmed slices closest to one; None where that is not asked for or cannot be said."""
    if not learns_appearance(model, options):
        return None
    closest = sorted(confirmed, key=lambda n: (abs(n - number), n))[:MAX_EXAMPLES]
    examples = [(cache.get(n), track.confirmed[n].logits) for n in closest]
    with computing(model, is_exact=True):
        return learn_appearance(examples)


def learns_appearance(model: SAM2, options: EngineOptions) -> bool:
    """The choice, or what suits the model."""
    chosen = options.learns_appearance
    return model.config.learns_appearance if chosen is None else chosen


def memory_rules(model: SAM2, options: EngineOptions) -> MemoryRules:
    """How far memory reaches for this model."""
    return MemoryRules(
        num_slots=model.config.num_mask_memories,
        max_pointers=model.config.max_object_pointers,
        max_conditioning=options.max_conditioning,
        stride=options.memory_stride,
        signed_offsets=model.config.has_pointer_time,
    )


def track_slice(
    model: SAM2,
    features: ImageFeatures,
    bank: MemoryBank,
    appearance: Appearance | None,
    before: SliceState | None,
    number: int,
    options: EngineOptions,
    *,
    reverse: bool,
) -> SliceState:
    """The answer on a slice without prompts.

    Args:
        model: Answers.
        features: Of the slice.
        bank: What is remembered.
        appearance: What the object looks like, where that was learned.
        before: The answer on the slice before, for models that are shown it.
        number: The slice.
        options: The engine's choices.
        reverse: The pass goes down.
    """
    coarse = bank.condition(model, features, number, reverse=reverse)
    hint = before.logits.float() if model.config.paints_prompts and before is not None else None
    answer = model.decode(coarse, features, mask_logits=hint, multimask=True)
    if appearance is not None:
        answer = appearance.carve(answer, features)
    return remember(model, features, answer, options, is_prompted=False)


def remember(
    model: SAM2, features: ImageFeatures, answer: MaskPrediction, options: EngineOptions, *, is_prompted: bool
) -> SliceState:
    """An answer with the memory made of it."""
    memory = model.write_memory(
        features, answer.logits, answer.presence_logit, binarize=is_prompted and options.binarize_prompted
    )
    return SliceState(
        answer.logits,
        float(answer.iou),
        float(answer.presence_logit),
        SliceMemory(memory.bfloat16() if options.half_memory else memory, answer.pointer),
    )
