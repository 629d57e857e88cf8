"""Where replicas are: each region's share of the desired number, which is remembered and moves only for a reason."""
