"""A real Kubernetes on one machine, without containers: binaries, control plane, and a runner of Pods as processes."""
