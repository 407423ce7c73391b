"""Files and the scene: which can be read, the checks of those that are not ours, reading and writing without the application."""
