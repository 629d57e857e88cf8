"""Kubernetes: Workforce objects, Events, the lease and the installation id."""
