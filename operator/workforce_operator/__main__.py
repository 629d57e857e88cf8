"""Entry guard of the daemon: checks that its packages are installed, then hands over to the composition root.

Nothing of the operator is imported before that, so that the base install answers with one line instead of a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobq.version import __version__
from workforce_operator import extras


def main() -> None:
    """Run the operator; exits with its exit code. With arguments nothing is started: who asks for help gets that."""
    extras.require("operator", "workforce-operator")
    if sys.argv[1:]:
        sys.exit(_answer(sys.argv[1:]))
    from workforce_operator.compose import run  # noqa: PLC0415 - only after the check above

    sys.exit(run())


def _answer(arguments: Sequence[str]) -> int:
    """Say what was asked for, or what is wrong."""
    from workforce_operator.settings import usage  # noqa: PLC0415 - the same

    match arguments:
        case ["--version"]:
            sys.stdout.write(f"workforce-operator, version {__version__}\n")
            return 0
        case ["-h" | "--help"]:
            sys.stdout.write(f"{usage()}\n")
            return 0
        case _:
            wrong = " ".join(arguments)
            sys.stderr.write(f"workforce-operator: {wrong}: it takes no arguments but --help and --version\n")
            return 2


if __name__ == "__main__":
    main()
