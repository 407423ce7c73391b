"""The next scan of the same person: where it lies as seen from the earlier one, and what was outlined there as prompts here.

SimpleITK does the registration; it is optional. No PyTorch.
"""

from NeuroSAM2Core.registration.between_people import Deformation, deformed_labels, register_people, spline_deformation
from NeuroSAM2Core.registration.carry import CarriedObject, carried_labels, prompts_of
from NeuroSAM2Core.registration.register import Registration, register, thinned

__all__ = [
    "CarriedObject",
    "Deformation",
    "Registration",
    "carried_labels",
    "deformed_labels",
    "prompts_of",
    "register",
    "register_people",
    "spline_deformation",
    "thinned",
]
