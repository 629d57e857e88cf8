"""The bench is of `tests/support/operator.py`."""

from tests.support.operator import azure_program_running, bench, definition

__all__ = ["azure_program_running", "bench", "definition"]
