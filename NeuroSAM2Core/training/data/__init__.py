"""Batches of clips: of annotated volumes (dataset files, reading through MONAI, sampling, augmentation, checks) and of synthetic ones.

This is the only package that imports MONAI, and it is loaded when the first batch is asked for.
"""

from collections.abc import Iterable, Iterator

from NeuroSAM2Core.training.config.data import DataConfig, SamplingConfig
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.data.dataset import (
    Case,
    SkippedCases,
    read_cases,
    read_dataset,
    read_datasets,
    with_unique_names,
)

__all__ = [
    "Case",
    "fine_tuning_batches",
    "read_cases",
    "read_dataset",
    "read_datasets",
    "with_unique_names",
]


def fine_tuning_batches(
    data: DataConfig,
    sampling: SamplingConfig,
    *,
    image_size: int,
    seed: int,
    numbers: Iterable[int],
    workers: int = 0,
    skipped: SkippedCases | None = None,
) -> Iterator[ClipBatch]:
    """The batches of some numbers, in order.

    Each is a pure function of the seed and its number, whatever the number of workers, so that a run that goes on needs no state.

    Args:
        data: Which cases.
        sampling: The shape of a batch.
        image_size: Side of the model's input, pixels.
        seed: Decides all draws.
        numbers: Which batches; processes that train together ask for different ones.
        workers: Processes that prepare batches ahead; 0 prepares them when they are asked for.
        skipped: Gets the cases that cannot be used.

    Raises:
        DataError: A dataset file cannot be read, a case cannot be used and the run is to stop, or none can.
        ConfigError: MONAI is not installed.
    """
    from NeuroSAM2Core.errors import ConfigError

    try:
        from NeuroSAM2Core.training.data.batches import BatchPlan, batches
    except ModuleNotFoundError as error:
        if error.name != "monai":
            raise
        raise ConfigError("fine-tuning needs MONAI", hint="install it with `pip install monai`") from error

    plan = BatchPlan(data=data, sampling=sampling, image_size=image_size, seed=seed)
    return batches(plan, numbers, workers=workers, skipped=skipped or SkippedCases())
