"""Validation inside a run: what would be given out now, measured on whole cases through the real engine, shared among processes.

At the end of a run, the engine's choices are measured on some of the same cases.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import replace

from NeuroSAM2Core.checkpoint import Provenance
from NeuroSAM2Core.errors import Cancelled, DataError
from NeuroSAM2Core.model import SAM2, EngineDefaults
from NeuroSAM2Core.training.config.data import FirstPrompt
from NeuroSAM2Core.training.config.fine_tuning import FineTuneConfig
from NeuroSAM2Core.training.data import Case, read_datasets
from NeuroSAM2Core.training.data.dataset import SKIPPED_FILE, SkippedCases
from NeuroSAM2Core.training.evaluation import evaluate_cases
from NeuroSAM2Core.training.evaluation.tuning import tune_engine
from NeuroSAM2Core.training.trainer.distributed import ProcessGroup
from NeuroSAM2Core.training.trainer.loop import EngineTuner, Validation, Validator
from NeuroSAM2Core.training.trainer.state import TrainState

logger = logging.getLogger(__name__)

MAX_TUNING_CASES = 4


def validation_cases(config: FineTuneConfig) -> list[Case]:
    """The cases that the datasets name for validation, as many as are wanted.

    Raises:
        DataError: A dataset file cannot be read.
    """
    cases = [case for file in read_datasets(config.data.datasets) for case in file.validation]
    return cases[: config.run.max_validation_cases or None]


def case_validator(config: FineTuneConfig, process_group: ProcessGroup) -> Validator | None:
    """Measures Dice after every kind of first prompt on the validation cases; None where there are none.

    Raises:
        DataError: A dataset file cannot be read.
    """
    cases = validation_cases(config)
    if not cases:
        logger.warning("the datasets name no validation cases: no checkpoint will be called the best")
        return None
    skipped = SkippedCases(config.run.folder / SKIPPED_FILE)

    def validate(state: TrainState) -> Validation:
        model = (
            state.checkpoint(Provenance(name="candidate"), with_training=False).build_model().to(process_group.device)
        )
        result = evaluate_cases(
            model,
            cases[process_group.rank :: process_group.size],
            replace(config.data, on_bad_case="skip"),
            config.evaluation,
        )
        for one in result.skipped:
            skipped.add(one.case, one.reason)
        numbers: dict[str, float] = {}
        for kind in config.evaluation.kinds:
            for clicks in range(config.evaluation.num_clicks + 1):
                dices = [m.dice for m in result.after(kind, clicks).values()]
                total, count = process_group.sum([sum(dices), len(dices)])
                suffix = f"_after_{clicks}" if clicks else ""
                numbers[f"{kind}_dice{suffix}"] = total / count if count else math.nan
        measured = [value for value in numbers.values() if not math.isnan(value)]
        return Validation(score=sum(measured) / len(measured) if measured else -math.inf, numbers=numbers)

    return validate


def case_engine_tuner(config: FineTuneConfig) -> EngineTuner | None:
    """Measures the engine's choices on at most four validation cases, after one box or else the run's own first prompt.

    None where the run does not ask for it. Where it cannot be done, a warning says why and how to make up for it.
    """
    if not config.run.tunes_engine:
        return None
    kinds: tuple[FirstPrompt, ...] = ("box",) if "box" in config.evaluation.kinds else config.evaluation.kinds
    evaluation = replace(config.evaluation, kinds=kinds, num_clicks=0, has_surfaces=False)

    def tune(model: SAM2, *, is_cancelled: Callable[[], bool]) -> EngineDefaults | None:
        try:
            cases = validation_cases(config)[:MAX_TUNING_CASES]
            logger.info("measuring the engine's choices on %d validation cases", len(cases))
            found = tune_engine(model, cases, config.data, evaluation, is_cancelled=is_cancelled)
        except (Cancelled, DataError) as reason:
            logger.warning("the engine's choices are not measured (%s); `neurosam2 tune` can do it later", reason)
            return None
        for line in found.as_markdown().splitlines():
            logger.info("%s", line)
        return found.best.choices

    return tune
