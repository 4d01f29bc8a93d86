"""Training in processes of its own, through accelerate."""
