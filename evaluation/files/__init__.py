"""Commands that check a file."""
