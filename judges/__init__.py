"""Judges: text in, score or verdict out; an unparsable reply is an outcome of its own."""
