"""Head-to-head: two models on the same prompts (Figure 3)."""
