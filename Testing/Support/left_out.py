"""Files of tests that are skipped with a reason where the machine lacks what they need."""

from collections.abc import Iterable
from typing import Any

import pytest

SCENE = ("slicer", "vtk", "vtkmodules")
NO_SCENE = "the scene is not tested: it needs slicer-core, which is not installed"


class TestModule(pytest.Module):
    """A file of tests; skipped where something is lacking, or where it imports the scene's packages and they are not installed."""

    def __init__(self, *arguments: Any, lacking: str = "", **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.lacking = lacking

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        if self.lacking:
            pytest.skip(self.lacking)
        try:
            return super().collect()
        except self.CollectError as error:
            if not (isinstance(error.__cause__, ModuleNotFoundError) and error.__cause__.name in SCENE):
                raise
        pytest.skip(NO_SCENE)
