"""The `workforce` command, also `kubectl workforce`: one module per verb, loaded when it is used."""
