"""The one call of Storage Queue that programs make a million times, without the SDK around it.

Putting a message costs the SDK about a millisecond of processor time, in which it changes threads twice; that is more
than the service takes. This sends the same request over the same session. It raises the SDK's errors, repeats nothing,
and knows nothing of tasks.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Protocol
from xml.sax.saxutils import escape

import aiohttp
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from yarl import URL

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.core.credentials_async import AsyncTokenCredential

VERSION = "2021-12-02"
TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=20)
_CONTENT_TYPE = "application/xml"
_ERRORS = {401: ClientAuthenticationError, 403: ClientAuthenticationError, 404: ResourceNotFoundError}
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_REFRESH_SECONDS = 300.0


class Identity(Protocol):
    """Says who sends a request."""

    async def authorization(self, url: URL, size: int, headers: Mapping[str, str]) -> str:
        """Value of the header of that name."""


class MessagePost:
    """Puts messages into the queues of one account.

    Args:
        url: Of the account's queue service.
        session: Stays open.
        identity: Who we are.
        user_agent: What we are.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession, identity: Identity, user_agent: str) -> None:
        self._url = url.rstrip("/")
        self._session = session
        self._identity = identity
        self._user_agent = user_agent

    async def put(self, queue: str, body: str, *, visible_after: int) -> None:
        """Put a message that never expires.

        Raises:
            AzureError: As the SDK's client raises it.
        """
        query = {"messagettl": "-1", **({"visibilitytimeout": str(visible_after)} if visible_after else {})}
        url = URL(f"{self._url}/{queue}/messages").with_query(query)
        text = escape(body, {"\r": "&#13;"})
        data = f"<?xml version='1.0' encoding='utf-8'?>\n<QueueMessage><MessageText>{text}</MessageText></QueueMessage>"
        payload = data.encode()
        headers = {
            "Content-Type": _CONTENT_TYPE,
            "User-Agent": self._user_agent,
            "x-ms-date": format_datetime(datetime.now(UTC), usegmt=True),
            "x-ms-version": VERSION,
        }
        headers["Authorization"] = await self._identity.authorization(url, len(payload), headers)
        try:
            async with self._session.post(url, data=payload, headers=headers, timeout=TIMEOUT) as response:
                await response.read()
        except _NEVER_SENT as error:
            raise ServiceRequestError(str(error), error=error) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServiceResponseError(str(error) or type(error).__name__, error=error) from error
        if response.status != 201:
            raise _error(response)


class TokenIdentity:
    """Somebody with a token of a credential, which is asked again before it ends."""

    def __init__(self, credential: AsyncTokenCredential, audience: str) -> None:
        self._credential = credential
        self._scope = f"{audience}/.default"
        self._token: AccessToken | None = None
        self._turn = asyncio.Lock()

    async def authorization(self, url: URL, size: int, headers: Mapping[str, str]) -> str:
        """See the protocol."""
        async with self._turn:
            if self._token is None or self._token.expires_on - time.time() < _REFRESH_SECONDS:
                self._token = await self._credential.get_token(self._scope)
            return f"Bearer {self._token.token}"


class SharedKeyIdentity:
    """Somebody with the account's key: a signature as the service's documents have it, "Authorize with Shared Key"."""

    def __init__(self, account: str, key: str) -> None:
        self._account = account
        self._key = base64.b64decode(key)

    async def authorization(self, url: URL, size: int, headers: Mapping[str, str]) -> str:
        """See the protocol."""
        ours = "".join(f"{name}:{headers[name]}\n" for name in ("x-ms-date", "x-ms-version"))
        query = "".join(f"\n{name}:{value}" for name, value in sorted(url.query.items()))
        # The blanks are headers that this request has not: encodings, digests, dates, conditions, ranges.
        text = f"POST\n\n\n{size}\n\n{_CONTENT_TYPE}\n\n\n\n\n\n\n{ours}/{self._account}{url.raw_path}{query}"
        signature = base64.b64encode(hmac.new(self._key, text.encode(), hashlib.sha256).digest()).decode()
        return f"SharedKey {self._account}:{signature}"


def shared_key(connection_string: str) -> SharedKeyIdentity | None:
    """The identity that a connection string holds; None if it holds something other than an account's key."""
    fields: Mapping[str, str] = dict(part.split("=", 1) for part in connection_string.split(";") if "=" in part)
    account, key = fields.get("AccountName"), fields.get("AccountKey")
    return SharedKeyIdentity(account, key) if account and key else None


def _error(response: aiohttp.ClientResponse) -> HttpResponseError:
    code = response.headers.get("x-ms-error-code", "")
    error = _ERRORS.get(response.status, HttpResponseError)(f"{code or response.reason} ({response.status})")
    error.status_code = response.status
    error.error_code = code  # type: ignore[attr-defined] # as the storage SDK's errors have it
    return error
