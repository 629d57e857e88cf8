"""Who waits for whose template to be resolved."""

import asyncio

import pytest

from jobq.cloud import PUBLIC_CLOUDS
from tests.contract.operator_ports.conftest import place
from tests.support.workforces import spec
from workforce_operator.adapters.arm.governor import Governor
from workforce_operator.adapters.azureml.templates import ChildTemplates
from workforce_operator.adapters.memory import MemoryGuard
from workforce_operator.api.spec import WorkforceSpec


class Token:
    token = "t"


class Credential:
    async def get_token(self, *scopes):
        return Token()


class Child:
    """Answers at once, but for workspaces that it is told to hang on."""

    def __init__(self):
        self.hanging, self.asked = set(), []

    async def ask(self, request):
        self.asked.append(request["workspace"])
        if request["workspace"] in self.hanging:
            await asyncio.Event().wait()
        return {"properties": {"environmentId": "e"}}


@pytest.fixture
def child():
    return Child()


@pytest.fixture
def resolve(child):
    templates = ChildTemplates(PUBLIC_CLOUDS["AzureCloud"], Credential(), Governor(), MemoryGuard(), child=child)
    template = WorkforceSpec.model_validate(spec()).template

    def resolve(workspace):
        return templates.resolve(template, place(workspace=workspace), environment={}, template_hash="v1:x")

    return resolve


async def test_a_template_that_is_known_does_not_wait_for_another_that_is_being_resolved(resolve, child):
    first = await resolve("here")
    child.hanging.add("there")
    other = asyncio.create_task(resolve("there"))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(resolve("here"), 5) == first
    other.cancel()


async def test_a_template_that_many_ask_for_at_once_is_resolved_once(resolve, child):
    await asyncio.gather(*(resolve("here") for _ in range(5)))
    assert child.asked == ["here"]
