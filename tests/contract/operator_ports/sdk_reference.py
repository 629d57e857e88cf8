"""What a person writes with azure-ai-ml for the same template: run as a program, it submits one job for real.

Written from the user's documents, apart from the product: it is what the product's own bodies are compared with.
"""

from __future__ import annotations

import json
import sys
import time

from azure.ai.ml import MLClient, command
from azure.ai.ml.entities import Environment, ManagedIdentityConfiguration
from azure.core.credentials import AccessToken


class Credential:
    def get_token(self, *scopes, **options):
        return AccessToken("token", int(time.time()) + 3600)


def main() -> None:
    given = json.load(sys.stdin)
    base = given["url"] + "/"
    client = MLClient(
        Credential(),
        given["subscription"],
        given["group"],
        given["workspace"],
        cloud="Reference",
        cloud_metadata={
            "azure_portal": base,
            "resource_manager": base,
            "active_directory": base,
            "aml_resource_id": base,
            "storage_endpoint": "core.local.test",
            "registry_discovery_endpoint": base,
        },
        connection_verify=given["ca"],
        show_progress=False,
        enable_telemetry=False,
    )
    job = dict(given["job"])
    if "image" in job:
        job["environment"] = Environment(image=job.pop("image"))
    if "identity" in job:
        job["identity"] = ManagedIdentityConfiguration(**job["identity"])
    client.jobs.create_or_update(command(**job))


if __name__ == "__main__":
    main()
