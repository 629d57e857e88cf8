"""What a service says when a fault strikes."""

from __future__ import annotations

import pytest

from workforce_local.chaos.answers import answer
from workforce_local.chaos.faults import Error, Outage, RequestFault, Throttle


@pytest.mark.parametrize("fault", [Error(kind="error"), Outage(kind="outage"), Throttle(kind="throttle")])
def test_every_answer_of_arm_names_the_request(fault: RequestFault) -> None:
    first, second = (answer(fault, "arm", "https://arm").headers["x-ms-request-id"] for _ in range(2))
    assert first != second
    assert "x-ms-request-id" not in answer(fault, "imds", "https://arm").headers
