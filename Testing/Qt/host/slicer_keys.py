"""Keys that Slicer listens for itself while one of our modules is shown, as Qt writes them; ours are others.

Source: the event translations of vtkMRMLSliceIntersectionWidget, vtkMRMLCameraWidget and vtkSlicerMarkupsWidget, the actions of
qSlicerMainWindow and qMRMLMarkupsToolBar. The Segment Editor's keys are installed by its own module only, and `Esc` and the keys of undo
and redo are ours, too, as they are the Segment Editor's.
"""

SLICE_VIEW = {"G", "T", "F", "B", "V", "Shift+V", "R", "[", "]", "{", "}", "Left", "Right", "Up", "Down"}
VIEW_3D = {"+", "-", "Ctrl+B", "R", "Home", "End", "PgDown", "Ins", "Clear"}
ON_A_POINT = {"S", "Del", "Shift+Del", "Backspace"}
MAIN_WINDOW = {f"Ctrl+{key}" for key in "OSWFHXCV0123456`"} | {"Ctrl+Left", "Ctrl+Right"}
MARKUPS_TOOL_BAR = {"Ctrl+Shift+A", "Ctrl+Shift+T", "Ctrl+Shift+Space"}

SLICER_KEYS = SLICE_VIEW | VIEW_3D | ON_A_POINT | MAIN_WINDOW | MARKUPS_TOOL_BAR
