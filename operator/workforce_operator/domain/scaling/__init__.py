"""From the queue to the number of replicas wanted: policy, activation, behaviour, floor, ceiling. Pure."""
