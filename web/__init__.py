"""Web pages of the study and of the run explorer."""
