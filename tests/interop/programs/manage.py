"""Manages workforces with ai4s-jobq, one call per line of input: ``{"of": 0, "call": "hire", "args": [2]}``.

Run by the ancestor's own Python with the workforces as JSON: their regions, and the queue if they are managed together.
`of` is a workforce's number, or "all" for all of them together. Each call is answered by one line of JSON.
"""

import asyncio
import inspect
import json
import os
import sys
import traceback
from types import GeneratorType

answers = os.fdopen(os.dup(1), "w", buffering=1)
# Progress bars and warnings of the libraries go where errors go.
os.dup2(2, 1)

from ai4s.jobq.orchestration.multiregion_workforce import MultiRegionWorkforce  # noqa: E402
from ai4s.jobq.orchestration.workforce import Workforce  # noqa: E402
from azure.ai.ml import MLClient, command  # noqa: E402
from azure.ai.ml.entities import Environment  # noqa: E402
from azure.identity import AzureCliCredential  # noqa: E402


def make(given, credential):
    client = MLClient(
        credential, given["subscription"], given["group"], given["workspace"], show_progress=False,
        enable_telemetry=False,
    )  # fmt: skip
    prototype = command(
        command=given["command"],
        environment=Environment(image="registry.example/worker:1"),
        environment_variables=given.get("environment", {}),
        compute=given["compute"],
    )
    channel = {name: given.get(name) for name in ("servicebus_resource_group", "servicebus_namespace")}
    return Workforce(
        given["experiment"], prototype, aml_client=client, credential=credential,
        servicebus_topic=given.get("servicebus_topic"), **channel,
    )  # fmt: skip


def plain(value):
    if isinstance(value, GeneratorType):
        return [plain(one) for one in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


async def call(target, name, arguments, options):
    result = getattr(target, name)(*arguments, **options)
    return await result if inspect.isawaitable(result) else result


async def main():
    config = json.loads(sys.argv[1])
    credential = AzureCliCredential()
    targets = dict(enumerate(make(given, credential) for given in config["workforces"]))
    if "queue" in config:
        everywhere = list(targets.values())
        targets["all"] = MultiRegionWorkforce(config["queue"], config["account"], everywhere, **config["options"])
    answers.write(json.dumps({"result": "ready"}) + "\n")
    for line in sys.stdin:
        order = json.loads(line)
        try:
            result = await call(targets[order["of"]], order["call"], order.get("args", []), order.get("options", {}))
            answer = {"result": plain(result)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")


asyncio.run(main())
