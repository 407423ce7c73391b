"""The app in a browser: the same controllers as in Slicer, on a machine without Slicer."""
