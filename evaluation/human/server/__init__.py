"""The web pages of a blind study."""
