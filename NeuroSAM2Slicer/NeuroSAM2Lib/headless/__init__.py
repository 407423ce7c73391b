"""The scene and its slice views without the Slicer application."""
