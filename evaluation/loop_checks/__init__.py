"""Checks of an iteration's data: the self-judge and contamination."""
