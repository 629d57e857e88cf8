"""What a person writes with azure-ai-ml for the same template: run as a program, it submits jobs for real.

Written from the user's documents, apart from the product: it is what the product's own bodies are compared with.
"""

from __future__ import annotations

import json
import sys
import time

import jwt
from azure.ai.ml import Input, MLClient, Output, command
from azure.ai.ml.entities import Environment, ManagedIdentityConfiguration, UserIdentityConfiguration
from azure.core.credentials import AccessToken


class Credential:
    def get_token(self, *scopes, **options):
        audience = scopes[0].removesuffix("/.default")
        return AccessToken(jwt.encode({"aud": audience}, "", algorithm="none"), int(time.time()) + 3600)


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
    for job in given["jobs"]:
        client.jobs.create_or_update(made(job))


def made(job):
    """A command as a person makes it, from words that JSON has."""
    if "image" in job:
        job["environment"] = Environment(image=job.pop("image"))
    identity = job.pop("identity", None)
    if identity is not None:
        job["identity"] = (
            UserIdentityConfiguration() if identity == "user" else ManagedIdentityConfiguration(**identity)
        )
    job["inputs"] = {
        name: Input(**each) if isinstance(each, dict) else each for name, each in job.pop("inputs", {}).items()
    }
    job["outputs"] = {name: Output(**each) for name, each in job.pop("outputs", {}).items()}
    properties = job.pop("resource_properties", None)
    it = command(**job)
    if properties is not None:
        it.resources.properties = properties
    return it


if __name__ == "__main__":
    main()
