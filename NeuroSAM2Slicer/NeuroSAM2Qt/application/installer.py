"""Takes the next step of an installation, after the person has agreed to it. Knows Slicer's ways to install; decides nothing."""

import importlib.util
import sys

import slicer
from NeuroSAM2Lib.engine.choice import Place
from NeuroSAM2Lib.engine.installation import TORCH, TRAINING_PACKAGES, Found, InstallPlan, Step, training_plan
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.segmentation.host import Host

from NeuroSAM2Core.errors import DataError

EXTENSION = "PyTorch"


class Installer:
    """Finds what there is and installs what is missing."""

    def __init__(self) -> None:
        self.is_restart_due = False

    def found(self, place: Place) -> Found:
        """What there is now."""
        names = (TORCH, *TRAINING_PACKAGES)
        return Found(
            place=place,
            modules=frozenset(name for name in names if importlib.util.find_spec(name) is not None),
            python=sys.version_info[:2],
            has_extension=importlib.util.find_spec("PyTorchUtils") is not None,
            is_restart_due=self.is_restart_due,
        )

    def take(self, plan: InstallPlan) -> str:
        """Takes the step; returns a sentence where it did not work out.

        Args:
            plan: What the person has agreed to.
        """
        match plan.step:
            case Step.EXTENSION:
                return self._install_extension()
            case Step.RESTART:
                slicer.app.restart()
            case Step.TORCH:
                return _install_torch()
            case Step.PACKAGES:
                return _install_packages(plan.requirements)
            case Step.NOTHING:
                pass
        importlib.invalidate_caches()
        return ""

    def has_training_packages(self, place: Place, host: Host) -> bool:
        """Installs what training lacks if the person agrees; false where they do not.

        Args:
            place: Where training is to run.
            host: Asks the person.

        Raises:
            DataError: It takes more than that, or did not work out.
        """
        plan = training_plan(self.found(place))
        if not plan.sentence:
            return True
        if plan.step is not Step.PACKAGES:
            raise DataError(plan.sentence.removesuffix("."), hint=_("NeuroSAM2 Segment shows how"))
        if not host.confirm(plan.question):
            return False
        problem = self.take(plan)
        if problem:
            raise DataError(problem)
        return True

    def _install_extension(self) -> str:
        manager = slicer.app.extensionsManagerModel()
        if not manager.installExtensionFromServer(EXTENSION, False):
            return _(
                "The PyTorch extension could not be installed. Without a network, choose another Python under Engine."
            )
        self.is_restart_due = True
        return ""


def _install_torch() -> str:
    """Through the PyTorch extension, which knows the right build for this computer."""
    import PyTorchUtils

    try:
        installed = PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False)
    except Exception as error:  # what pip says
        return _("PyTorch could not be installed: {error}").format(error=error)
    return "" if installed is not None else _("PyTorch was not installed.")


def _install_packages(requirements: tuple[str, ...]) -> str:
    try:
        try:
            from slicer.packaging import pip_install

            pip_install(list(requirements))
        except ImportError:
            slicer.util.pip_install(" ".join(f'"{one}"' for one in requirements))
    except Exception as error:  # what pip says
        return _("The packages could not be installed: {error}").format(error=error)
    return ""
