"""Segments: their labelmaps, one slice of them written, what may be edited, their volumes and surfaces."""
