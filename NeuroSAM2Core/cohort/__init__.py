"""A study from a few annotated cases: prompts for every new scan by registration, one record a case, and a list of what to look at first.

`answer` and `run`, which ask the model and distribute the cases, need PyTorch and Dask; everything else needs neither.
"""

from NeuroSAM2Core.cohort.carry import Vote, carry, vote_on
from NeuroSAM2Core.cohort.plan import CohortCase, CohortPlan, Template, find_images, find_templates
from NeuroSAM2Core.cohort.record import CaseRecord, CohortFolder, ObjectResult
from NeuroSAM2Core.cohort.review import CaseState, ReviewRow, review_rows, write_review

__all__ = [
    "CaseRecord",
    "CaseState",
    "CohortCase",
    "CohortFolder",
    "CohortPlan",
    "ObjectResult",
    "ReviewRow",
    "Template",
    "Vote",
    "carry",
    "find_images",
    "find_templates",
    "review_rows",
    "vote_on",
    "write_review",
]
