"""An environment's label is looked up when the template changes, and the version kept until it changes again."""

from __future__ import annotations

from tests.passes.test_reconciler import KEY, op  # noqa: F401 - a fixture
from workforce_operator.domain.errors import Unavailable

LABELLED = {"type": "Registered", "name": "worker", "label": "latest"}


def apply(op, *, replicas=1, command="sleep 3600", regions=("uksouth",)):  # noqa: F811
    spec = op.world.spec(replicas=replicas, regions=regions)
    spec["template"] = {"command": command, "environment": LABELLED}
    op.world.store.apply(KEY, spec)


def versions(op):  # noqa: F811
    """The environments of all jobs, by the order of their hires."""
    return [stored.body["environmentId"].rsplit("/", 1)[-1] for stored in op.world.jobs.jobs.values()]


async def test_a_version_registered_later_is_not_taken_before_the_template_changes(op):  # noqa: F811
    op.world.templates.latest["worker"] = "3"
    apply(op)
    await op.settle()
    status = await op.status()
    assert versions(op) == ["3"]
    assert status.regions[0].environment.version == "3"
    assert status.regions[0].environment.template_hash == status.template_hash
    assert "EnvironmentResolved" in op.world.events.reasons()

    op.world.templates.latest["worker"] = "4"
    op.world.restart()
    apply(op, replicas=2)
    await op.settle()
    assert versions(op) == ["3", "3"]

    apply(op, replicas=3, command="sleep 7200")
    await op.settle()
    assert versions(op) == ["3", "3", "4"]
    assert (await op.status()).regions[0].environment.version == "4"


async def test_the_version_is_in_the_ledger_before_anybody_is_hired_with_it(op):  # noqa: F811
    op.world.templates.latest["worker"] = "3"
    apply(op)
    written = []

    async def at_hire():
        written.append((await op.status()).regions[0].environment)

    real = op.world.jobs.hire

    async def hire(*args):
        await at_hire()
        return await real(*args)

    op.world.jobs.hire = hire
    await op.settle()
    assert [each.version for each in written] == ["3"]


async def test_looking_up_a_label_forgets_nothing_else_of_the_ledger(op):  # noqa: F811
    op.world.templates.latest["worker"] = "3"
    apply(op)
    await op.once()
    assert (await op.status()).last_scale_decision.desired == 1


async def test_each_region_has_the_version_of_its_own_workspace(op):  # noqa: F811
    op.world.templates.latest["worker"] = "3"
    apply(op, replicas=2, regions=("uksouth", "westeurope"))
    await op.settle()
    asked = {call.arguments[0].coordinates.workspace for call in op.world.templates.faults.made("latest_version")}
    assert asked == {"ws-uksouth", "ws-westeurope"}
    assert len(op.world.templates.faults.made("latest_version")) == 2


async def test_nobody_is_hired_while_a_label_cannot_be_looked_up(op):  # noqa: F811
    op.world.templates.latest["worker"] = "3"
    op.world.templates.faults.next_error("latest_version", Unavailable("no answer"))
    apply(op)
    await op.once()
    assert op.live() == []
    await op.settle()
    assert versions(op) == ["3"]


async def test_an_environment_that_does_not_exist_is_told_of_the_template(op):  # noqa: F811
    apply(op)
    await op.settle(4)
    assert op.live() == []
    assert (await op.condition("SpecAccepted"))[:2] == ("False", "InvalidTemplate")
