"""What the panels need of Slicer's application: its scene, views, status bar, keys, sample data, Python and installers."""
