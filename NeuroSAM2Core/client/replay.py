"""What must be said again to a worker that knows nothing: after a crash, a reconnection, or for a scene that is opened again.

A `Statement` is the whole truth about one volume, as the owner of prompts and masks knows it. `restate` tells it.
"""

from dataclasses import dataclass

from NeuroSAM2Core.client.client import EngineClient
from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.protocol.messages import LoadModel, PredictSlice, RestoreSlice
from NeuroSAM2Core.protocol.switches import AUTOMATIC, EngineSwitches
from NeuroSAM2Core.volume import BY_ITSELF, Cleaning, IntensityWindow, SliceMask, Volume


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceStatement:
    """What is known of one object on one slice."""

    mask: SliceMask | None = None
    """What it looks like."""
    prompts: PromptSet | None = None
    """What was said there and answered with that mask; None for a slice that was tracked."""
    unanswered: PromptSet | None = None
    """What was said since and has no answer yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """All that a worker must know of one volume."""

    model: LoadModel
    volume: Volume
    window: IntensityWindow | None = None
    switches: EngineSwitches = AUTOMATIC
    slices: tuple[SliceStatement, ...] = ()
    """Slices with prompts in the order in which they were first prompted."""


def restate(client: EngineClient, statement: Statement) -> list[int]:
    """Submits all that brings a new worker to where the old one was, and returns the requests' numbers.

    First the slices that are confirmed, then those that were tracked, then the prompts that were not answered, so that these correct what
    is there. What is exact afterwards and what is only close is said in docs/protocol.md.
    """
    numbers = [
        client.submit(statement.model),
        client.open_volume(statement.volume, window=statement.window, switches=statement.switches),
    ]
    key = client.volume_id(numbers[-1])
    numbers += [client.submit(request) for request in restoring(key, statement.slices)]
    return numbers


def restoring(
    volume_id: str, slices: tuple[SliceStatement, ...], cleaning: Cleaning = BY_ITSELF
) -> list[RestoreSlice | PredictSlice]:
    """The requests that tell what is known of an open volume, in the order in which they must be sent.

    Args:
        volume_id: The volume.
        slices: What is known of it.
        cleaning: How masks are cleaned.
    """
    confirmed = [one for one in slices if one.prompts is not None]
    tracked = [one for one in slices if one.prompts is None]
    return [
        *(
            RestoreSlice(volume_id=volume_id, mask=one.mask, prompts=one.prompts, cleaning=cleaning)
            for one in confirmed + tracked
            if one.mask is not None
        ),
        *(
            PredictSlice(volume_id=volume_id, prompts=one.unanswered, cleaning=cleaning)
            for one in slices
            if one.unanswered is not None
        ),
    ]
