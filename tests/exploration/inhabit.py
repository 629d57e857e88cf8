"""The worker jobs that another installation, now lost, has left living where a Workforce begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobq.cloud import load_cloud
from tests.exploration.specs import OTHER_INSTALLATION
from tests.exploration.world import World, address_in
from workforce_operator.adapters.memory.worker_jobs import StoredJob
from workforce_operator.api.spec import WorkforceSpec
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.job_environment import job_environment
from workforce_operator.domain.ledger import Ledger
from workforce_operator.domain.observed import Job
from workforce_operator.ports.kubernetes import Key
from workforce_operator.reconcile.reconciler import workplaces


def inhabit(world: World, key: Key, spec: Mapping[str, Any]) -> None:
    """Put jobs of a Workforce of the same namespace and name into its regions; they listen where its would."""
    desired = Desired(key.namespace, key.name, OTHER_INSTALLATION, 1, WorkforceSpec.model_validate(spec))
    for place in workplaces(desired, Ledger()).values():
        environment = job_environment(
            desired, desired.spec.template, place.coordinates, cloud=load_cloud("AzureCloud"), secrets={}
        )
        for sequence in range(world.rng.choice([0, 1, 3])):
            name = f"{place.prefix}-{sequence}"
            job = Job(name, sequence, "Starting", template_hash="v1:other", created=world.clock.now())
            address = address_in(place, name)
            world.jobs.jobs[address] = StoredJob(job, place.owner, place.prefix, {})
            world.born(address, place, sequence, environment)
