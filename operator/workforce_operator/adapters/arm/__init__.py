"""Azure Resource Manager: one pipeline, one governor and one mapping of errors for everything that speaks ARM."""
