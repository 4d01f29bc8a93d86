"""Records, stages, artifact store, configuration, errors and progress: no torch, no network."""
