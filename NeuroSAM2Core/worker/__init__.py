"""The process that computes: it listens, schedules and runs the engine for its clients."""
