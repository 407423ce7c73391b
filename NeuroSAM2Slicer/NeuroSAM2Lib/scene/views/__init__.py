"""Slice views: the slice that one shows, the pixel under the pointer, and an outline that is no segment."""
