"""`workforce drain NAME JOB`: one worker finishes its tasks and leaves, and another one takes its place.

The wish is an annotation of the Workforce, so that it needs the right to change Workforces, survives the operator's
restart, and is seen in audit logs. Names of jobs that live no more are taken out of it with the next wish.
"""

from __future__ import annotations

from typing import Any

import click

from workforce_operator.adapters.kubernetes.api import open_kubernetes
from workforce_operator.api.base import DRAIN_ANNOTATION, GROUP, PLURAL, VERSION, requested_drains
from workforce_operator.cli.options import about_one_workforce
from workforce_operator.cli.reach import Target, ask, run
from workforce_operator.domain.errors import Missing, SpecError
from workforce_operator.domain.workers import Workers


@click.command()
@about_one_workforce
@click.argument("job")
def drain(target: Target, job: str) -> None:
    """Ask the worker JOB of the Workforce NAME to finish its tasks and leave.

    Another worker takes its place, unless the Workforce is suspended.
    """
    click.echo(run(_drain(target, job)))


async def _drain(target: Target, job: str) -> str:
    answer = await ask(target, f"/debug/workers/{target.namespace}/{target.name}")
    living = {worker.name: worker for worker in Workers.model_validate(answer).workers}
    if job not in living:
        raise Missing(f"{job} is no living worker of {target.namespace}/{target.name}; see: workforce workers")
    if living[job].phase != "running":
        raise Missing(f"{job} is {living[job].state} and runs no task: there is nothing to drain")
    if living[job].drain is not None:
        return f"{job} was told to leave already"
    path = f"/apis/{GROUP}/{VERSION}/namespaces/{target.namespace}/{PLURAL}/{target.name}"
    async with open_kubernetes() as api:
        found = await api.get(path)
        _refuse(found.get("spec", {}))
        before = requested_drains(found["metadata"].get("annotations") or {})
        names = sorted((before & living.keys()) | {job})
        metadata = {"resourceVersion": found["metadata"]["resourceVersion"]}
        annotations = {DRAIN_ANNOTATION: ",".join(names)}
        await api.patch(path, {"metadata": {**metadata, "annotations": annotations}})
    return f"{job} is to finish its tasks and leave"


def _refuse(spec: dict[str, Any]) -> None:
    """Without a channel nobody can be told, ai4s-jobq's workers cannot be told one by one, and Hold tells nobody."""
    control = spec.get("control")
    if spec.get("suspend") == "Hold":
        raise SpecError("spec.suspend is Hold: nobody is told anything until that is changed")
    if control is None:
        raise SpecError("spec.control is not set: running workers cannot be told to leave")
    if control.get("dialect") == "JobQ":
        raise SpecError("spec.control.dialect is JobQ: its workers cannot be told to leave one by one")
