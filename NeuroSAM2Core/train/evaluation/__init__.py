"""How good a model is: measured through the real engine with simulated prompts, on volumes that it was not trained on."""

from NeuroSAM2Core.train.evaluation.cases import evaluate_cases
from NeuroSAM2Core.train.evaluation.config import EvaluationConfig, FirstPrompt
from NeuroSAM2Core.train.evaluation.metrics import dice
from NeuroSAM2Core.train.evaluation.result import EvaluationResult, Measurement
from NeuroSAM2Core.train.evaluation.rounds import Round, clicks_to, evaluate, largest_slice

__all__ = [
    "EvaluationConfig",
    "EvaluationResult",
    "FirstPrompt",
    "Measurement",
    "Round",
    "clicks_to",
    "dice",
    "evaluate",
    "evaluate_cases",
    "largest_slice",
]
