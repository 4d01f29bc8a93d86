"""Published numbers, and whether ours are comparable with them."""
