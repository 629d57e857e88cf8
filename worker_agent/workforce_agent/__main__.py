"""`python -m workforce_agent` is the command `workforce-agent`."""

from workforce_agent.cli import main

if __name__ == "__main__":
    main()
