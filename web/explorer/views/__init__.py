"""The pages of the run explorer."""
