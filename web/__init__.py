"""Web pages: a shared kit and the run explorer."""
