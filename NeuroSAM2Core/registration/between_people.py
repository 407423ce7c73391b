"""Two different heads on each other: where the second begins is searched for, then an affine map, and a B-spline on request.

Heads of two people are turned, scaled and bent against each other: a search over turns and sizes on coarse images comes before the
optimisation by mutual information.

Source: Jenkinson and Smith, "A global optimisation method for robust affine registration of brain images", 2001 (search before optimising);
Rueckert et al., "Nonrigid registration using free-form deformations: application to breast MR images", 1999.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import Cancelled, DataError, last_line
from NeuroSAM2Core.labels import whole_numbers
from NeuroSAM2Core.registration.register import (
    RAS_TO_LPS,
    Registration,
    as_image,
    grid_of,
    method_of,
    optimised,
    registration_of,
    sampled,
    similarity_of,
    simple_itk,
)
from NeuroSAM2Core.volume import Volume

COARSE_MM, FINE_MM = 8.0, 4.0
"""That the scans are sampled at to search, and to optimise."""
PITCHES, ROLLS, TURNS = (-20, 0, 20), (-12, 0, 12), (-12, 0, 12)
"""Degrees about the axes R, A and S: heads nod more than they lean."""
SCALES = (0.9, 1.0, 1.12)
BEGINNINGS = 3
"""The best ones of the search are optimised."""
COARSE_STEPS, FINE_STEPS = 40, 60
SPLINE_MM = 3.0
"""That the scans are sampled at for the B-spline."""
KNOTS_MM = 24.0
"""Between the knots of the finest B-spline; the one before has twice that."""
SPLINE_STEPS = 30
SHARE, SEED = 0.2, 1


def register_people(
    earlier: Volume, later: Volume, *, is_cancelled: Callable[[], bool] = lambda: False
) -> Registration:
    """How the heads of two people lie to each other: an affine map.

    Args:
        earlier: One head.
        later: Another one, of any contrast.
        is_cancelled: Asked in every step.

    Raises:
        ConfigError: SimpleITK is not installed.
        GeometryError: The axes of one are not at right angles.
        DataError: They have nothing in common.
        Cancelled: It was asked for.
    """
    sitk = simple_itk()
    coarse_mm, fine_mm = (max(mm, min(earlier.spacing_mm), min(later.spacing_mm)) for mm in (COARSE_MM, FINE_MM))
    fixed, moving = (sampled(sitk, one, coarse_mm) for one in (later, earlier))
    fixed_fine, moving_fine = (sampled(sitk, one, fine_mm) for one in (later, earlier))
    try:
        before = similarity_of(sitk, fixed_fine, moving_fine, sitk.Transform())
        begun = [
            optimised(sitk, fixed, moving, one, COARSE_STEPS, is_cancelled=is_cancelled, levels=(1,))
            for one in _beginnings(sitk, fixed, moving)
        ]
        best = max(begun, key=lambda one: similarity_of(sitk, fixed, moving, one))
        found = optimised(sitk, fixed_fine, moving_fine, best, FINE_STEPS, is_cancelled=is_cancelled, levels=(2, 1))
        results = [(similarity_of(sitk, fixed_fine, moving_fine, one), one) for one in (found, best)]
        similarity, chosen = max(results, key=lambda one: one[0])
    except RuntimeError as error:
        raise DataError(
            f"{earlier.name} and {later.name} cannot be registered: {last_line(error)}",
            hint="do they show the same part of the body?",
        ) from error
    return registration_of(chosen, before=before, similarity=similarity)


def _beginnings(sitk: ModuleType, fixed: Any, moving: Any) -> list[Any]:  # noqa: ANN401  (SimpleITK is optional)
    """Affine maps to begin with, the most similar first: turns and sizes about the middles of mass and of the grids."""
    kinds = sitk.CenteredTransformInitializerFilter
    tried: list[tuple[float, int, Any]] = []
    for kind in (kinds.MOMENTS, kinds.GEOMETRY):
        middles = sitk.CenteredTransformInitializer(fixed, moving, sitk.AffineTransform(3), kind)
        for angles in itertools.product(PITCHES, ROLLS, TURNS):
            turn = _turn(*map(math.radians, angles))
            for scale in SCALES:
                one = sitk.AffineTransform(middles)
                one.SetMatrix((scale * turn).ravel().tolist())
                tried.append((similarity_of(sitk, fixed, moving, one), len(tried), one))
    tried.sort(key=lambda one: (-one[0], one[1]))
    return [one for _, _, one in tried[:BEGINNINGS]]


def _turn(x: float, y: float, z: float) -> NDArray[np.float64]:
    """A rotation about the three axes, radians."""
    matrix = np.eye(3)
    for (a, b), angle in zip(((1, 2), (0, 2), (0, 1)), (x, y, z), strict=True):
        one = np.eye(3)
        one[[a, b], [a, b]] = math.cos(angle)
        one[a, b], one[b, a] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ one
    return matrix


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Deformation:
    """What of two heads an affine map leaves: displacements of the later one before the map takes them to the earlier one."""

    field_mm: NDArray[np.float64]
    """(K, J, I, 3) on a grid of its own, LPS; outside of it there is none."""
    unlike: NDArray[np.float32] | None
    """(K, J, I): how unlike the two are there once they lie on each other, 0 for alike; None where nobody has looked."""
    ijk_to_ras: NDArray[np.float64]
    """(4, 4) of that grid."""

    def unlike_in(self, box: tuple[slice, ...], grid: Volume) -> float | None:
        """How unlike the two are on average in a box of another grid; None where nobody has looked, or outside.

        Args:
            box: Slices of (K, J, I).
            grid: That they are of.
        """
        if self.unlike is None:
            return None
        ends = [[one.start, one.stop - 1] for one in box[::-1]]
        corners = np.array([*map(np.ravel, np.meshgrid(*ends)), np.ones(8)])
        i, j, k = (np.linalg.inv(self.ijk_to_ras) @ grid.ijk_to_ras @ corners)[:3]
        part = self.unlike[tuple(slice(max(0, round(x.min())), max(0, round(x.max()) + 1)) for x in (k, j, i))]
        return float(part.mean()) if part.size else None


def spline_deformation(
    earlier: Volume, later: Volume, registration: Registration, *, is_cancelled: Callable[[], bool] = lambda: False
) -> Deformation:
    """How one head bends onto another, as a B-spline optimised by mutual information.

    Args:
        earlier: One head; see `thinned`.
        later: Another one, of any contrast.
        registration: How they lie to each other; see `register_people`.
        is_cancelled: Asked in every step.

    Raises:
        ConfigError: SimpleITK is not installed.
        GeometryError: The axes of a grid are not at right angles.
        DataError: They have nothing in common.
        Cancelled: It was asked for.
    """
    sitk = simple_itk()
    spacing_mm = max(SPLINE_MM, min(earlier.spacing_mm), min(later.spacing_mm))
    fixed, moving = (sampled(sitk, one, spacing_mm) for one in (later, earlier))
    size_mm = [n * s for n, s in zip(fixed.GetSize(), fixed.GetSpacing(), strict=True)]
    mesh = [max(1, round(size / (2 * KNOTS_MM))) for size in size_mm]
    spline = sitk.BSplineTransformInitializer(fixed, mesh)
    method = method_of(sitk)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SHARE, SEED)
    method.SetMovingInitialTransform(as_transform(sitk, registration))
    method.SetInitialTransformAsBSpline(spline, inPlace=True, scaleFactors=[1, 2])
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([1.0, 0.5])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetOptimizerAsLBFGS2(solutionAccuracy=1e-4, numberOfIterations=SPLINE_STEPS, deltaConvergenceTolerance=1e-4)

    def look() -> None:
        if is_cancelled():
            method.StopRegistration()

    method.AddCommand(sitk.sitkIterationEvent, look)
    try:
        found = method.Execute(fixed, moving)
    except RuntimeError as error:
        raise DataError(f"{earlier.name} cannot be deformed onto {later.name}: {last_line(error)}") from error
    if is_cancelled():
        raise Cancelled
    field = sitk.TransformToDisplacementField(
        found,
        sitk.sitkVectorFloat64,
        fixed.GetSize(),
        fixed.GetOrigin(),
        fixed.GetSpacing(),
        fixed.GetDirection(),
    )
    return Deformation(field_mm=sitk.GetArrayFromImage(field), unlike=None, ijk_to_ras=grid_of(fixed))


def deformed_labels(
    labels: Volume, grid: Volume, registration: Registration, deformation: Deformation
) -> NDArray[np.int32]:
    """A label map of one head on the grid of another's image, (K, J, I): at each voxel the label with the largest share.

    Args:
        labels: Of the first head; whole numbers.
        grid: The image of the other one.
        registration: How they lie to each other; see `register_people`.
        deformation: What that leaves.

    Raises:
        ConfigError: SimpleITK is not installed.
        DataError: The labels are none.
    """
    sitk = simple_itk()
    field = as_image(sitk, deformation.field_mm, deformation.ijk_to_ras)
    bent = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    whole = sitk.CompositeTransform([as_transform(sitk, registration), bent])  # the last one comes first
    image = as_image(sitk, whole_numbers(labels), labels.ijk_to_ras)
    target = as_image(sitk, np.zeros(grid.shape, np.uint8), grid.ijk_to_ras)
    moved = sitk.Resample(image, target, whole, sitk.sitkLabelLinear, 0.0, sitk.sitkInt32)
    return np.asarray(sitk.GetArrayFromImage(moved), dtype=np.int32)


def as_transform(sitk: Any, registration: Registration) -> Any:  # noqa: ANN401  (SimpleITK is optional)
    """A registration as a transform of SimpleITK, from the later scan to the earlier one."""
    lps = RAS_TO_LPS @ registration.matrix @ RAS_TO_LPS
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(lps[:3, :3].ravel().tolist())
    affine.SetTranslation(lps[:3, 3].tolist())
    return affine
