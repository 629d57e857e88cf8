"""What the operator hears when its identity service fails, and how often it asks."""

from __future__ import annotations

import asyncio

import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy

from workforce_operator.adapters.identity import HELD_SECONDS, SharedRefusals

ARM, STORAGE = "https://management.azure.com/.default", "https://storage.azure.com/.default"


class Service:
    """A credential that is refused while `down`."""

    def __init__(self) -> None:
        self.down = True
        self.asked: list[tuple[str, str | None]] = []
        self.now = 0.0

    async def get_token(self, scope: str, *, claims: str | None = None, **_: object) -> AccessToken:
        return AccessToken(await self._token(scope, claims), 1 << 40)

    async def get_token_info(self, scope: str, *, options: dict | None = None) -> AccessTokenInfo:
        return AccessTokenInfo(await self._token(scope, (options or {}).get("claims")), 1 << 40)

    async def _token(self, scope: str, claims: str | None) -> str:
        self.asked.append((scope, claims))
        await asyncio.sleep(0)
        if self.down:
            raise ClientAuthenticationError("503 from the identity service")
        return f"token for {scope}"


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def credential(service: Service) -> SharedRefusals:
    return SharedRefusals(service, lambda: service.now)  # type: ignore[arg-type] # it asks for no more than this


async def test_one_refusal_answers_all_requests_that_wait_for_a_token(service, credential):
    policy = AsyncBearerTokenCredentialPolicy(credential, ARM)

    async def request() -> None:
        async with policy._lock:
            await policy._request_token(ARM)

    refused = await asyncio.gather(*(request() for _ in range(84)), return_exceptions=True)
    assert {str(error) for error in refused} == {"503 from the identity service"}
    assert len(service.asked) == 1


@pytest.mark.parametrize("method", ["get_token", "get_token_info"])
async def test_a_token_is_asked_for_again_once_the_refusal_is_old(service, credential, method):
    with pytest.raises(ClientAuthenticationError):
        await getattr(credential, method)(ARM)
    service.down = False
    service.now = HELD_SECONDS - 0.1
    with pytest.raises(ClientAuthenticationError):
        await getattr(credential, method)(ARM)
    service.now = HELD_SECONDS
    assert (await getattr(credential, method)(ARM)).token == f"token for {ARM}"
    service.now -= 1
    assert (await getattr(credential, method)(ARM)).token == f"token for {ARM}"


async def test_a_refusal_is_for_one_audience_and_one_challenge(service, credential):
    with pytest.raises(ClientAuthenticationError):
        await credential.get_token(ARM)
    service.down = False
    assert (await credential.get_token(STORAGE)).token == f"token for {STORAGE}"
    assert (await credential.get_token_info(ARM, options={"claims": "c"})).token == f"token for {ARM}"
    assert service.asked == [(ARM, None), (STORAGE, None), (ARM, "c")]
