"""Who answers a judge prompt: a model of this machine, an API, or a recording."""
