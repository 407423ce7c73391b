"""Evaluation: measures a model through the real engine with simulated prompts on held-out volumes."""

from NeuroSAM2Core.measures.agreement import dice
from NeuroSAM2Core.training.evaluation.cases import Round, clicks_to, evaluate, evaluate_cases, largest_slice
from NeuroSAM2Core.training.evaluation.results import EvaluationResult, Measurement

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
