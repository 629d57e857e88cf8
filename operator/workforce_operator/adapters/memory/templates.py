"""Templates resolved without azure-ai-ml: enough of a body for tests to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workforce_operator.adapters.memory.faults import Faults
from workforce_operator.api.template import Template
from workforce_operator.domain.errors import SpecError
from workforce_operator.ports.azure import JobBody, Workplace


class MemoryTemplates:
    """Answers at once, with the plain fields of the template."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.latest: dict[str, str] = {}
        """Newest version by environment's name."""

    async def latest_version(self, place: Workplace, name: str) -> str:
        """See ``ports.azure.Templates``."""
        with self.faults.call("latest_version", place, name):
            if name not in self.latest:
                raise SpecError(f"there is no environment {name}", reason="InvalidTemplate")
            return self.latest[name]

    async def resolve(
        self, template: Template, place: Workplace, *, environment: Mapping[str, str], template_hash: str
    ) -> JobBody:
        """See ``ports.azure.Templates``."""
        with self.faults.call("resolve", template, place, dict(environment), template_hash):
            properties: dict[str, Any] = {
                "jobType": "Command",
                "command": template.command,
                "computeId": f"computes/{place.coordinates.compute}",
                "experimentName": place.coordinates.experiment,
                "environmentId": template.environment.image
                or f"environments/{template.environment.name}/versions/{template.environment.version}",
                "environmentVariables": dict(environment),
                "tags": dict(template.tags),
                "properties": {},
                "limits": {"jobLimitsType": "Command", "timeout": f"PT{template.timeout_seconds}S"},
            }
            return JobBody(properties=properties, template_hash=template_hash)
