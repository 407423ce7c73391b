"""Evaluation: measures a model through the real engine with simulated prompts on held-out volumes."""

from NeuroSAM2Core.measures.agreement import dice
from NeuroSAM2Core.training.evaluation.cases import evaluate_cases
from NeuroSAM2Core.training.evaluation.result import EvaluationResult, Measurement
from NeuroSAM2Core.training.evaluation.rounds import Round, clicks_to, evaluate, largest_slice

__all__ = [
    "EvaluationResult",
    "Measurement",
    "Round",
    "clicks_to",
    "dice",
    "evaluate",
    "evaluate_cases",
    "largest_slice",
]
