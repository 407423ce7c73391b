"""Rigid and then affine registration of two scans of one head, by mutual information, so that they may be of different contrast."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json
from NeuroSAM2Core.errors import Cancelled, ConfigError, DataError, GeometryError, last_line
from NeuroSAM2Core.volume import Volume
from NeuroSAM2Core.volume.header import is_orthogonal

SPACING_MM = 2.0
"""That scans are sampled at; finer ones gain little and take long."""
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
BINS, SHARE, SEED = 50, 0.2, 1
"""Of the histogram; of the voxels that are looked at in a step; of their choice."""
RIGID_STEPS, AFFINE_STEPS = 150, 100
LEVELS = (4, 2, 1)
LARGEST_SCALE = 1.15
"""More than a head grows or shrinks between two scans."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """How two scans lie to each other."""

    later_to_earlier: tuple[tuple[float, ...], ...]
    """(4, 4): positions in the later scan to those in the earlier one, RAS in mm."""
    similarity_before: float
    """Mutual information of the two as they are, 0 where nothing is alike."""
    similarity: float
    """The same once they are registered."""

    @property
    def matrix(self) -> NDArray[np.float64]:
        """`later_to_earlier` as an array."""
        return np.array(self.later_to_earlier, dtype=np.float64)

    @property
    def to_later(self) -> NDArray[np.float64]:
        """(4, 4): positions in the earlier scan to those in the later one."""
        return np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)

    @property
    def angle_degrees(self) -> float:
        """Of the turn."""
        u, _, v = np.linalg.svd(self.matrix[:3, :3])
        return math.degrees(math.acos(min(1.0, max(-1.0, (float(np.trace(u @ v)) - 1) / 2))))

    @property
    def is_doubtful(self) -> bool:
        """It should be looked at well: nothing was gained, or one scan had to be stretched more than heads change."""
        scales = np.linalg.svd(self.matrix[:3, :3], compute_uv=False)
        is_stretched = scales.max() > LARGEST_SCALE or scales.min() < 1 / LARGEST_SCALE
        return bool(is_stretched or self.similarity < self.similarity_before)

    def shift_mm(self, centre: NDArray[np.float64]) -> float:
        """How far a position (3,) of the later scan is from the same one in the earlier scan."""
        return float(np.linalg.norm(self.matrix[:3, :3] @ centre + self.matrix[:3, 3] - centre))

    def to_text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "Registration":
        """The inverse of `to_text`.

        Raises:
            DataError: It is something else.
        """
        try:
            found = decoded(cls, parse_json(text), "registration", Rules())
        except DecodingError as error:
            raise DataError(f"that is no registration: {error}") from error
        matrix = np.array(found.later_to_earlier, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-6:
            raise DataError("that is no registration: its matrix is none")
        return found


def thinned(volume: Volume, spacing_mm: float = SPACING_MM / 2) -> Volume:
    """A volume with only as many voxels as registration needs, at the same place."""
    steps = [max(1, int(spacing_mm / one)) for one in volume.spacing_mm]
    i, j, k = steps
    matrix = volume.ijk_to_ras @ np.diag([*map(float, steps), 1.0])
    return Volume(np.ascontiguousarray(volume.voxels[::k, ::j, ::i]), matrix, name=volume.name)


def register(
    earlier: Volume,
    later: Volume,
    *,
    report: Callable[[float], None] = lambda share: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Registration:
    """How two scans of one person lie to each other.

    Args:
        earlier: One scan.
        later: Another one, of any contrast.
        report: Hears how much is done, 0 to 1.
        is_cancelled: Asked in every step.

    Raises:
        ConfigError: SimpleITK is not installed.
        GeometryError: The axes of one are not at right angles.
        DataError: They have nothing in common.
        Cancelled: It was asked for.
    """
    sitk = simple_itk()
    spacing_mm = max(SPACING_MM, min(earlier.spacing_mm), min(later.spacing_mm))
    fixed, moving = (sampled(sitk, one, spacing_mm) for one in (later, earlier))
    try:
        begin, before = _beginning(sitk, fixed, moving)
        rigid = optimised(sitk, fixed, moving, begin, RIGID_STEPS, lambda done: report(0.6 * done), is_cancelled)
        affine = sitk.AffineTransform(3)
        affine.SetMatrix(rigid.GetMatrix())
        affine.SetCenter(rigid.GetCenter())
        affine.SetTranslation(rigid.GetTranslation())
        found = optimised(
            sitk, fixed, moving, affine, AFFINE_STEPS, lambda done: report(0.6 + 0.4 * done), is_cancelled
        )
        results = [(similarity_of(sitk, fixed, moving, one), one) for one in (found, rigid, begin)]
    except RuntimeError as error:
        raise DataError(
            f"{earlier.name} and {later.name} cannot be registered: {last_line(error)}",
            hint="are they of the same person and part of the body?",
        ) from error
    similarity, best = max(results, key=lambda one: one[0])
    report(1.0)
    return registration_of(best, before=before, similarity=similarity)


def registration_of(transform: Any, *, before: float, similarity: float) -> Registration:  # noqa: ANN401
    """What a linear transform of SimpleITK says.

    Args:
        transform: From the later scan to the earlier one.
        before: Mutual information of the two as they are.
        similarity: The same with the transform.
    """
    lps = np.eye(4)
    lps[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis in range(3):
        lps[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - lps[:3, 3]
    matrix = RAS_TO_LPS @ lps @ RAS_TO_LPS
    return Registration(
        later_to_earlier=tuple(tuple(map(float, row)) for row in matrix),
        similarity_before=before,
        similarity=similarity,
    )


def simple_itk() -> ModuleType:
    """The package, which is optional.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise ConfigError("registration needs SimpleITK", hint="install it with `pip install SimpleITK`") from error
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def sampled(sitk: ModuleType, volume: Volume, spacing_mm: float) -> Any:  # noqa: ANN401  (SimpleITK is optional)
    """A volume as an image of SimpleITK, in cubes of the same size, its values between 0 and 1."""
    if not is_orthogonal(volume.ijk_to_ras):
        raise GeometryError(
            f"the axes of {volume.name} are not at right angles", hint="resample it first, for example in 3D Slicer"
        )
    voxels = np.nan_to_num(volume.voxels.astype(np.float32), posinf=0, neginf=0)
    low, high = np.percentile(voxels, (1, 99.5))
    if low >= high:
        low, high = float(voxels.min()), float(voxels.max())
    if low >= high:
        raise DataError(f"{volume.name} is the same everywhere: there is nothing to register")
    image = as_image(sitk, np.clip((voxels - low) / (high - low), 0, 1), volume.ijk_to_ras)
    lps = RAS_TO_LPS @ volume.ijk_to_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    size = np.array(image.GetSize())
    count = np.maximum(1, np.rint(size * spacing / spacing_mm)).astype(int)
    sigmas = [float(0.5 * max(spacing_mm, one)) for one in spacing]
    smooth = sitk.SmoothingRecursiveGaussian(image, sigmas) if min(size) > 3 else image
    cell = size * spacing / count
    origin = lps[:3, 3] + (lps[:3, :3] / spacing) @ ((cell - spacing) / 2)
    return sitk.Resample(
        smooth,
        count.tolist(),
        sitk.Transform(),
        sitk.sitkLinear,
        origin.tolist(),
        cell.tolist(),
        image.GetDirection(),
        0.0,
    )


def as_image(sitk: ModuleType, voxels: NDArray[Any], ijk_to_ras: NDArray[np.float64]) -> Any:  # noqa: ANN401
    """Voxels (K, J, I), or vectors (K, J, I, 3), as an image of SimpleITK, at their place."""
    image = sitk.GetImageFromArray(voxels, isVector=voxels.ndim == 4)
    lps = RAS_TO_LPS @ ijk_to_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def grid_of(image: Any) -> NDArray[np.float64]:  # noqa: ANN401  (SimpleITK is optional)
    """The inverse of what `as_image` sets: ijk_to_ras (4, 4)."""
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return np.asarray(RAS_TO_LPS @ lps)


def _beginning(sitk: ModuleType, fixed: Any, moving: Any) -> tuple[Any, float]:  # noqa: ANN401  (SimpleITK is optional)
    """Where to begin: as the two are, or with their middles on each other; and how alike they are as they are."""
    moments = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    middles = sitk.Euler3DTransform(moments)
    same = sitk.Euler3DTransform()
    same.SetCenter(middles.GetCenter())
    before = similarity_of(sitk, fixed, moving, same)
    return (middles if similarity_of(sitk, fixed, moving, middles) > before else same), before


def method_of(sitk: ModuleType) -> Any:  # noqa: ANN401  (SimpleITK is optional)
    """A registration by mutual information that is told neither transform nor optimizer yet."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetInterpolator(sitk.sitkLinear)
    return method


def similarity_of(sitk: ModuleType, fixed: Any, moving: Any, transform: Any) -> float:  # noqa: ANN401
    """Mutual information of two scans; 0 where they do not touch each other."""
    method = method_of(sitk)
    method.SetInitialTransform(transform)
    try:
        return max(0.0, -float(method.MetricEvaluate(fixed, moving)))
    except RuntimeError:
        return 0.0


def optimised(
    sitk: ModuleType,
    fixed: Any,  # noqa: ANN401
    moving: Any,  # noqa: ANN401
    begin: Any,  # noqa: ANN401
    steps: int,
    report: Callable[[float], None] = lambda share: None,
    is_cancelled: Callable[[], bool] = lambda: False,
    *,
    levels: tuple[int, ...] = LEVELS,
) -> Any:  # noqa: ANN401
    """A transform that makes the two more alike, of the kind of the one it begins with.

    Args:
        sitk: The package.
        fixed: The later scan.
        moving: The earlier one.
        begin: Where to begin.
        steps: On each level.
        report: Hears how much is done, 0 to 1.
        is_cancelled: Asked in every step.
        levels: How much coarser than the images each level is.
    """
    method = method_of(sitk)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SHARE, SEED)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0, minStep=1e-3, numberOfIterations=steps, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(levels)
    method.SetSmoothingSigmasPerLevel([0.5 * one for one in levels])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(type(begin)(begin), inPlace=True)
    stopped = False

    def look() -> None:
        nonlocal stopped
        report((method.GetCurrentLevel() + method.GetOptimizerIteration() / steps) / len(levels))
        if is_cancelled():
            stopped = True
            method.StopRegistration()

    method.AddCommand(sitk.sitkIterationEvent, look)
    found = method.Execute(fixed, moving)
    if stopped or is_cancelled():
        raise Cancelled
    return type(begin)(found)
