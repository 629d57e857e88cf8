"""How tasks are run: a shell command, a Python callable in this process, or one in processes of its own."""
