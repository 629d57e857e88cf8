"""The loop: observe through the ports, let the domain decide, execute, and tell. Knows no vendor and no framework."""
