"""Entry guard of the daemon: checks that its packages are installed, then hands over to the composition root.

Nothing of the operator is imported before that, so that the base install answers with one line instead of a traceback.
"""

from __future__ import annotations

import sys

from workforce_operator import extras


def main() -> None:
    """Run the operator; exits with its exit code."""
    extras.require("operator", "workforce-operator")
    from workforce_operator.compose import run  # noqa: PLC0415 - only after the check above

    sys.exit(run())


if __name__ == "__main__":
    main()
