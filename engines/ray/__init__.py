"""A pool of engines on Ray."""
