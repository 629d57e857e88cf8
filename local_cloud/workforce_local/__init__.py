"""Kubernetes and Azure on one machine, behind the real protocols."""
