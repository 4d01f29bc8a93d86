"""Speed and memory measurements against other tools."""
