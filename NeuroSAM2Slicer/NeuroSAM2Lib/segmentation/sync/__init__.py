"""Synchronisation of the document with the engine: requests, results, propagation, previews."""
