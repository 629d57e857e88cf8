"""The environment variables of a hired job: everything that ``workforce-agent run`` needs to serve its queue.

The same for all jobs of a template and region, so that the body is resolved once; only the time limit is then spread
per job where the body is made.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobq import names
from jobq.address import SERVICE_BUS_SCHEME
from jobq.cloud import CLOUD_VARIABLE, DEFAULT_CLOUD, Cloud
from jobq.durations import DurationError, parse_duration
from workforce_operator.api.spec import ControlDialect
from workforce_operator.api.status import RegionCoordinates
from workforce_operator.api.template import AZURE_CLIENT_ID_VARIABLE, SecretKeyRef, Template
from workforce_operator.domain.desired import Desired, control_of

INSIGHTS_VARIABLE = "APPLICATIONINSIGHTS_CONNECTION_STRING"
KILL_TIMEOUT_SECONDS = 600
"""The agent's own default between asking a task to end and killing it."""
LEAVING_SECONDS = 600
"""What a job needs besides to start, to return its tasks and to leave."""
SHORTEST_LIMIT_SECONDS = 60


def secret_refs(template: Template) -> tuple[SecretKeyRef, ...]:
    """The Secrets to be read before ``job_environment`` can be made."""
    return tuple(
        variable.value_from.secret_key_ref
        for variable in template.environment_variables
        if variable.value_from is not None
    )


def job_environment(
    desired: Desired,
    template: Template,
    coordinates: RegionCoordinates,
    *,
    cloud: Cloud,
    cloud_setting: str = DEFAULT_CLOUD,
    insights: str | None = None,
    secrets: Mapping[tuple[str, str], str],
) -> dict[str, str]:
    """All environment variables of one region's jobs.

    Args:
        desired: The Workforce.
        template: The region's; see ``template.region_template``.
        coordinates: The region's, for its control topic and namespace.
        cloud: Where Service Bus is.
        cloud_setting: The operator's own cloud setting; given to the workers if it is not the default.
        insights: Connection string of the Application Insights that workers tell unless the template names another.
        secrets: Values by (Secret name, key), for every one of ``secret_refs``.
    """
    variables = {} if insights is None else {INSIGHTS_VARIABLE: insights}
    variables |= {
        variable.name: _value(
            variable.value, variable.value_from.secret_key_ref if variable.value_from else None, secrets
        )
        for variable in template.environment_variables
    }
    variables |= _work(desired, template)
    variables |= _control(desired, coordinates, cloud)
    if cloud_setting != DEFAULT_CLOUD:
        variables[CLOUD_VARIABLE] = cloud_setting
    if template.identity is not None and template.identity.client_id is not None:
        variables[AZURE_CLIENT_ID_VARIABLE] = template.identity.client_id
    return variables


def time_limit_seconds(template: Template) -> int:
    """How long an agent may pull tasks, so that it leaves by itself before the platform ends the job."""
    return max(SHORTEST_LIMIT_SECONDS, template.timeout_seconds - _kill_timeout(template) - LEAVING_SECONDS)


def _value(value: str | None, ref: SecretKeyRef | None, secrets: Mapping[tuple[str, str], str]) -> str:
    return secrets[ref.name, ref.key] if ref is not None else value or ""


def _work(desired: Desired, template: Template) -> dict[str, str]:
    queue = desired.spec.queue
    variables = {
        names.NUM_WORKERS_VARIABLE: str(template.slots),
        names.TIME_LIMIT_VARIABLE: f"{time_limit_seconds(template)}s",
    }
    if queue.storage is not None:
        variables[names.STORAGE_VARIABLE] = queue.storage.account
        variables[names.QUEUE_VARIABLE] = queue.storage.name
    if queue.service_bus is not None:
        variables[names.STORAGE_VARIABLE] = SERVICE_BUS_SCHEME + queue.service_bus.namespace
        variables[names.QUEUE_VARIABLE] = queue.service_bus.name
    return variables


def _control(desired: Desired, coordinates: RegionCoordinates, cloud: Cloud) -> dict[str, str]:
    control = control_of(desired.spec.control, coordinates)
    if control is None:
        return {}
    channel = {
        names.BACK_CHANNEL_VARIABLE: cloud.service_bus_host(control.service_bus.namespace),
        names.CONTROL_TOPIC_VARIABLE: coordinates.topic,
    }
    if control.dialect is ControlDialect.JOBQ:
        return channel
    return channel | {
        names.NODE_QUEUE_VARIABLE: names.node_queue_name(desired.installation_id),
        names.REPORTS_QUEUE_VARIABLE: names.reports_queue_name(desired.installation_id),
    }


def _kill_timeout(template: Template) -> int:
    """The kill timeout that the template gives the agent, or the agent's default."""
    for variable in template.environment_variables:
        if variable.name == names.KILL_TIMEOUT_VARIABLE and variable.value is not None:
            try:
                return int(parse_duration(variable.value).total_seconds())
            except DurationError:
                return KILL_TIMEOUT_SECONDS
    return KILL_TIMEOUT_SECONDS
