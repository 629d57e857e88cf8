"""The bench is of `tests/support/operator.py`; here the operator is started by helm instead."""

from tests.support.operator import azure_program_running, bench, definition

__all__ = ["azure_program_running", "bench", "definition"]
