"""`--dry-run`: stages, memory, time and cost."""
