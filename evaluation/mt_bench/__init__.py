"""MT-Bench (Tables 2 and 10)."""
