"""One session: a volume, its objects and the engine. Start at `controller.py`, which says what every action means."""
