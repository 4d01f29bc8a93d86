"""What the loop trains on: seed data, prompts, candidates, pairs."""
