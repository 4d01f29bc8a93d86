"""Models on this machine, run by transformers."""
