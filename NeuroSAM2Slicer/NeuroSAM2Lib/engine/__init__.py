"""The connection to the engine: settings, installation, start, test and restart. Independent of the scene."""
