"""Slicer's panels: widgets shown and read, nothing decided. The controllers live in NeuroSAM2Lib."""
