"""A worker that somebody names leaves, and another one takes its place, over whole passes and a restart."""

from __future__ import annotations

from tests.passes.test_reconciler import KEY, op  # noqa: F401 - a fixture


async def test_a_named_worker_is_drained_once_and_replaced(op):  # noqa: F811
    op.apply(replicas=2)
    await op.settle()
    first = sorted(job.name for job in op.live())[0]
    op.world.store.ask_to_drain(KEY, first)
    await op.settle(3)
    assert {sent.job for sent in op.world.control.orders} == {first}
    op.finish_drained()
    op.world.restart()
    await op.settle()
    assert first not in {job.name for job in op.live()}
    assert len(op.live()) == 2
    assert len(op.world.jobs.jobs) == 3
    assert {sent.job for sent in op.world.control.orders} == {first}
