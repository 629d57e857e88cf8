"""Decisions of the operator: pure functions of what was asked for, what was observed and what was intended before."""
