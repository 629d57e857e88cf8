"""What people hear of a pass as Events of the Workforce."""

from __future__ import annotations

import pytest

from tests.passes.test_reconciler import op  # noqa: F401 - a fixture
from workforce_operator.domain.errors import Conflict, Denied


async def test_a_change_of_a_condition_is_told_once_as_an_event(op):  # noqa: F811
    op.apply(replicas=2)
    await op.settle()
    op.world.depth.faults.always_error("read", Denied("no role", scope="acct"))
    await op.settle(3)
    told = [each.note for each in op.world.events.events if each.note.message.startswith("QueueReachable")]
    assert [(note.reason, note.warning) for note in told] == [("AccessDenied", True)]
    assert (await op.condition("QueueReachable"))[1] == "AccessDenied"


async def test_of_a_new_workforce_only_its_hires_are_told(op):  # noqa: F811
    op.apply(replicas=2)
    await op.settle()
    assert (await op.condition("Ready"))[0] == "True"
    assert [each.note.reason for each in op.world.events.events] == ["Hiring"]


async def test_what_was_done_is_told_although_an_edit_broke_the_pass_off(op):  # noqa: F811
    def tells_of_leaving(call):
        return any(each.type == "Draining" and each.status == "True" for each in call[1].conditions)

    op.apply(replicas=2)
    await op.settle()
    op.apply(replicas=1)
    op.world.store.faults.next_error("write_status", Conflict("edited"), matches=tells_of_leaving)
    with pytest.raises(Conflict):
        await op.once()
    assert len(op.world.control.orders) == 1
    await op.settle(3)
    assert op.world.events.reasons().count("LayingOff") == 1


async def test_a_queue_that_can_be_read_again_is_told(op):  # noqa: F811
    op.apply(replicas=2)
    await op.settle()
    op.world.depth.faults.always_error("read", Denied("no role", scope="acct"))
    await op.settle(3)
    op.world.depth.faults.reset()
    op.world.depth.faults.always_error("read", None)
    await op.settle(3)
    messages = [each.note.message for each in op.world.events.events if not each.note.warning]
    assert [message for message in messages if message.startswith("QueueReachable:")]
