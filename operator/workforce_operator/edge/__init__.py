"""Where the process touches its surroundings: the informer, probes, metrics, the supervisor of its tasks."""
