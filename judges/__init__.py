"""Judges: text in, score or verdict out; what cannot be read is an outcome of its own."""
