"""Restores the state of a worker that knows nothing: after a crash, a reconnection, or for a scene that is opened again.

A `StateSnapshot` is the complete state of one volume, as the owner of prompts and masks has it. `replay` sends it.
"""

from dataclasses import dataclass

from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.remote.client import EngineClient
from NeuroSAM2Core.remote.messages import LoadModel, PredictSlice, RestoreSlice
from NeuroSAM2Core.remote.switches import AUTOMATIC, EngineSwitches
from NeuroSAM2Core.volume import DEFAULT_CLEANUP, IntensityWindow, MaskCleanup, SliceMask, Volume


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceSnapshot:
    """The prompts and mask of one object on one slice."""

    mask: SliceMask | None = None
    """What it looks like."""
    prompts: PromptSet | None = None
    """The prompts there that were answered with that mask; None for a slice that was tracked."""
    unanswered: PromptSet | None = None
    """Prompts set since then, without an answer yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StateSnapshot:
    """Everything needed to restore one volume on a worker."""

    model: LoadModel
    volume: Volume
    window: IntensityWindow | None = None
    switches: EngineSwitches = AUTOMATIC
    slices: tuple[SliceSnapshot, ...] = ()
    """Slices with prompts in the order in which they were first prompted."""


def replay(client: EngineClient, snapshot: StateSnapshot) -> list[int]:
    """Submits the requests that restore a snapshot on a new worker, and returns their numbers.

    First the slices that are confirmed, then those that were tracked, then the prompts that were not answered, so that these correct what
    is there. What is exact afterwards and what is only close is described in docs/protocol.md.
    """
    numbers = [
        client.submit(snapshot.model),
        client.open_volume(snapshot.volume, window=snapshot.window, switches=snapshot.switches),
    ]
    key = client.volume_id(numbers[-1])
    numbers += [client.submit(request) for request in restore_requests(key, snapshot.slices)]
    return numbers


def restore_requests(
    volume_id: str, slices: tuple[SliceSnapshot, ...], cleanup: MaskCleanup = DEFAULT_CLEANUP
) -> list[RestoreSlice | PredictSlice]:
    """The requests that restore the state of an open volume, in the order in which they must be sent.

    Args:
        volume_id: The volume.
        slices: What is known of it.
        cleanup: How masks are cleaned.
    """
    confirmed = [one for one in slices if one.prompts is not None]
    tracked = [one for one in slices if one.prompts is None]
    return [
        *(
            RestoreSlice(volume_id=volume_id, mask=one.mask, prompts=one.prompts, cleanup=cleanup)
            for one in confirmed + tracked
            if one.mask is not None
        ),
        *(
            PredictSlice(volume_id=volume_id, prompts=one.unanswered, cleanup=cleanup)
            for one in slices
            if one.unanswered is not None
        ),
    ]
