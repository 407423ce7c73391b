"""The way to an engine: where it runs, how it is started, tried, kept alive and given up on. Knows no scene."""
