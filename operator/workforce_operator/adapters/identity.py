"""The operator's identity, which many requests ask for a token at once.

azure-core asks the credential for one request after the other. Where the identity service is down each of them would
wait for the credential's own retries, some seconds, before it hears the same: with 84 regions a pass would last for
minutes, and no status would say why. Here one attempt speaks for all that ask within a moment.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from azure.core.exceptions import AzureError

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
    from azure.identity.aio import DefaultAzureCredential

HELD_SECONDS = 5.0
"""How long a refusal is repeated: enough for one pass over many regions, and soon over when the service is back."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Refusal:
    error: AzureError
    claims: str | None
    until: float


class SharedRefusals:
    """A credential whose failure is the answer to everybody who asks for the same within the next seconds.

    Args:
        credential: Where tokens come from, and where they are kept; it stays the caller's.
        clock: Seconds.
    """

    def __init__(self, credential: DefaultAzureCredential, clock: Callable[[], float] = time.monotonic) -> None:
        self._credential = credential
        self._clock = clock
        self._refused: dict[tuple[str, ...], _Refusal] = {}

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token. Raises what the credential raises."""
        return await self._ask(scopes, options.get("claims"), lambda: self._credential.get_token(*scopes, **options))

    async def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """A token with what is known of it. Raises what the credential raises."""
        claims = (options or {}).get("claims")
        return await self._ask(scopes, claims, lambda: self._credential.get_token_info(*scopes, options=options))

    async def _ask(self, scopes: tuple[str, ...], claims: str | None, ask: Callable[[], Awaitable[T]]) -> T:
        refusal = self._refused.get(scopes)
        if refusal is not None and refusal.claims == claims and self._clock() < refusal.until:
            raise refusal.error.with_traceback(None)
        try:
            token = await ask()
        except AzureError as error:
            self._refused[scopes] = _Refusal(error, claims, self._clock() + HELD_SECONDS)
            raise
        self._refused.pop(scopes, None)
        return token

    async def close(self) -> None:
        """Nothing: the credential is its owner's to close."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing, as above."""
