"""Faults of the local Azure on demand: what goes wrong, where, how often, and a record of what did.

`faults` and `scenario` say what may be asked for, `engine` decides (both without input or output), and one module each
applies it: to HTTP servers, to storage, to Service Bus, and to nodes and clusters.
"""
