"""The configurations of runs as plain values: what can be set, checked, read from TOML and written to it; recipes and presets."""
