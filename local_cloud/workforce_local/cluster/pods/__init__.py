"""How Pods become local processes: the parts of the pod runner."""
