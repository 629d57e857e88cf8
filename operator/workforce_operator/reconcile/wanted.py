"""What an object asks for, and for which installation this operator acts there. Reads nothing and changes nothing.

An object whose jobs belong to another installation is left alone; see ADR 0018 for what `adoptFrom` changes.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from workforce_operator.api.spec import DeletionPolicy, WorkforceSpec
from workforce_operator.domain.desired import Desired
from workforce_operator.domain.errors import SpecError
from workforce_operator.domain.validate import read_spec, spec_for_deletion
from workforce_operator.ports.kubernetes import StoredWorkforce


def wanted(stored: StoredWorkforce, installation_id: str, now: datetime, *, definition_going: bool) -> Desired:
    """What an object asks for.

    Args:
        stored: The object.
        installation_id: This operator's own.
        now: The time of this pass.
        definition_going: The CustomResourceDefinition is being deleted.

    Raises:
        SpecError: The spec cannot be worked with, or the jobs are another installation's. While the object is being
            deleted, only the latter, and only until it may go without its jobs.
    """
    spec = _spec(stored)
    acting = spec.adopt_from or installation_id
    owner = stored.status.installation_id or acting
    left_alone = owner != acting
    if left_alone and not _may_leave(stored, spec, now):
        text = _foreign(owner, acting, installation_id)
        if stored.deletion_time is not None:
            text += ". With deletionPolicy Orphan the object goes at once and leaves them as they are"
        raise SpecError(text, reason="OtherInstallation")
    return Desired(
        namespace=stored.key.namespace,
        name=stored.key.name,
        installation_id=owner,
        generation=stored.generation,
        spec=spec,
        deletion_time=stored.deletion_time,
        jobs_stay=definition_going or left_alone,
        drain_requested=stored.drain_requested,
        created=stored.creation_time,
    )


def _spec(stored: StoredWorkforce) -> WorkforceSpec:
    """The spec; while the object is being deleted, at least as much of it as can be read."""
    try:
        return read_spec(stored.key.namespace, stored.key.name, stored.spec)
    except SpecError:
        if stored.deletion_time is None:
            raise
        return spec_for_deletion(stored.spec)


def _may_leave(stored: StoredWorkforce, spec: WorkforceSpec, now: datetime) -> bool:
    """Whether an object of another installation may go, with its jobs left: a deletion always ends."""
    if stored.deletion_time is None:
        return False
    deadline = stored.deletion_time + timedelta(seconds=spec.deletion_deadline_seconds)
    return spec.deletion_policy is DeletionPolicy.ORPHAN or now >= deadline


def _foreign(owner: str, acting: str, installation_id: str) -> str:
    text = f"the worker jobs belong to the operator installation {owner}, and not to {acting}: nothing is done. "
    if owner == installation_id:
        return text + "Remove spec.adoptFrom: only a Workforce without jobs of its own can take over those of another"
    return text + f"Set spec.adoptFrom to {owner} to take them over, or run the operator with that installation id"
