"""The queue service of Azure Storage as it is on the wire: signed requests, answers, and its XML.

A worker asks it for each task, and a program that pushes a million tasks a million times; the SDK's client costs more
than the service for each. This knows nothing of tasks, locks or retries: it sends one request and reads one answer.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, unquote, urlsplit
from xml.parsers import expat

from jobq.errors import first_line
from jobq.http import Answer, HttpClient

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.core.credentials_async import AsyncTokenCredential

VERSION = "2021-12-02"
CONTENT_TYPE = "application/xml"
_REFRESH_SECONDS = 300.0
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class IdentityError(Exception):
    """Nothing was sent, because we cannot say who we are."""

    def __init__(self, text: str, *, refused: bool) -> None:
        super().__init__(text)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Request:
    """One request, before it is signed: the path as it is sent, the query's values as they mean."""

    method: str
    path: str
    query: Mapping[str, str]
    size: int
    headers: Mapping[str, str]


class Identity(Protocol):
    """Says who sends a request."""

    async def sign(self, request: Request) -> tuple[Mapping[str, str], str]:
        """Headers to add, and what to add to the query as it is sent.

        Raises:
            IdentityError: It cannot be said.
        """

    def refused(self) -> bool:
        """The service did not believe it. Whether another try may go better."""


class QueueService:
    """The queue service of one account.

    Args:
        url: Its URL; a path is kept, as emulators have one.
        http: Asks its origin.
        identity: Who we are.
        user_agent: What we are.
    """

    def __init__(self, url: str, http: HttpClient, identity: Identity, user_agent: str) -> None:
        self._path = urlsplit(url).path.rstrip("/")
        self._http = http
        self._identity = identity
        self._user_agent = user_agent

    async def call(self, method: str, path: str, query: Mapping[str, str] | None = None, body: str = "") -> Answer:
        """Send one request; what the service refuses for its signature is signed anew once.

        Args:
            method: In capitals.
            path: Below the service, with a slash before it.
            query: Names and values.
            body: XML.

        Raises:
            IdentityError: Nothing was sent.
            NotSent: No connection was made.
            AnswerLost: Nobody knows what happened.
        """
        answer = await self._once(method, path, query or {}, body.encode())
        if answer.status == 401 and self._identity.refused():
            answer = await self._once(method, path, query or {}, body.encode())
        return answer

    async def _once(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Answer:
        headers = {"User-Agent": self._user_agent, "x-ms-date": http_date(time.time()), "x-ms-version": VERSION}
        if body:
            headers["Content-Type"] = CONTENT_TYPE
        path = self._path + quote(path)
        more, suffix = await self._identity.sign(Request(method, path, query, len(body), headers))
        sent = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        target = path + ("?" if sent or suffix else "") + sent + ("&" if sent and suffix else "") + suffix
        return await self._http.request(method, target, {**headers, **more}, body)


class TokenIdentity:
    """Somebody with a token of a credential, which is asked again before it ends."""

    def __init__(self, credential: AsyncTokenCredential, audience: str) -> None:
        self._credential = credential
        self._scope = f"{audience}/.default"
        self._token: AccessToken | None = None
        self._turn = asyncio.Lock()

    async def sign(self, request: Request) -> tuple[Mapping[str, str], str]:
        """See the protocol."""
        async with self._turn:
            if self._token is None or self._token.expires_on - time.time() < _REFRESH_SECONDS:
                self._token = await self._ask()
            return {"Authorization": f"Bearer {self._token.token}"}, ""

    def refused(self) -> bool:
        """See the protocol. A token may be withdrawn before its end."""
        self._token = None
        return True

    async def _ask(self) -> AccessToken:
        from azure.core.exceptions import AzureError, ClientAuthenticationError  # noqa: PLC0415 - here already by now

        try:
            return await self._credential.get_token(self._scope)
        except ClientAuthenticationError as error:
            raise IdentityError(first_line(error), refused=True) from error
        except (AzureError, OSError, ValueError) as error:
            raise IdentityError(first_line(error), refused=False) from error


class SharedKeyIdentity:
    """Somebody with the account's key: a signature as the service's documents have it, "Authorize with Shared Key"."""

    def __init__(self, account: str, key: str) -> None:
        self._account = account
        self._key = base64.b64decode(key)

    async def sign(self, request: Request) -> tuple[Mapping[str, str], str]:
        """See the protocol."""
        ours = "".join(f"{name}:{request.headers[name]}\n" for name in ("x-ms-date", "x-ms-version"))
        query = "".join(f"\n{name}:{value}" for name, value in sorted(request.query.items()))
        size, kind = str(request.size or ""), request.headers.get("Content-Type", "")
        # The blanks are headers that these requests have not: encodings, digests, dates, conditions, ranges.
        text = f"{request.method}\n\n\n{size}\n\n{kind}\n\n\n\n\n\n\n{ours}/{self._account}{request.path}{query}"
        signature = base64.b64encode(hmac.new(self._key, text.encode(), hashlib.sha256).digest()).decode()
        return {"Authorization": f"SharedKey {self._account}:{signature}"}, ""

    def refused(self) -> bool:
        """See the protocol."""
        return False


class SignatureIdentity:
    """Somebody with a shared access signature, which is part of the query."""

    def __init__(self, signature: str) -> None:
        self._signature = signature.lstrip("?")

    async def sign(self, request: Request) -> tuple[Mapping[str, str], str]:
        """See the protocol."""
        return {}, self._signature

    def refused(self) -> bool:
        """See the protocol."""
        return False


@dataclass(frozen=True, slots=True)
class Account:
    """What a connection string says."""

    name: str
    url: str
    identity: Identity


def read_connection_string(text: str) -> Account:
    """Read a storage account's connection string.

    Raises:
        ValueError: It is none, or lacks something; the text says what, and holds no secret.
    """
    pairs = (part.partition("=") for part in text.split(";"))
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    account, key = fields.get("accountname", ""), fields.get("accountkey", "")
    signature, url = fields.get("sharedaccesssignature", ""), fields.get("queueendpoint", "")
    if not url:
        if not account:
            raise ValueError("the connection string has neither QueueEndpoint nor AccountName")
        scheme = fields.get("defaultendpointsprotocol", "https")
        url = f"{scheme}://{account}.queue.{fields.get('endpointsuffix', 'core.windows.net')}"
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("QueueEndpoint of the connection string is no URL")
    name = account or parts.hostname.split(".")[0]
    if account and key:
        try:
            return Account(name, url, SharedKeyIdentity(account, key))
        except ValueError:
            raise ValueError("AccountKey of the connection string is not base64") from None
    if signature := signature or parts.query:
        return Account(name, url, SignatureIdentity(signature))
    raise ValueError("the connection string has neither AccountKey nor SharedAccessSignature")


def origin(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def message_xml(text: str) -> str:
    """A message as a request's body."""
    return (
        "<?xml version='1.0' encoding='utf-8'?>\n<QueueMessage><MessageText>"
        f"{escape(text)}</MessageText></QueueMessage>"
    )


def escape(text: str) -> str:
    """Text as XML has it; a carriage return would be read as a line feed."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def read_messages(body: bytes) -> Sequence[Mapping[str, str]]:
    """The messages of an answer, each as its fields by name.

    Raises:
        ValueError: It is not XML as this service writes it.
    """
    found: list[dict[str, str]] = []
    path: list[str] = []
    words: list[str] = []

    def start(name: str, _: Mapping[str, str]) -> None:
        path.append(name)
        words.clear()
        if name == "QueueMessage":
            found.append({})

    def end(name: str) -> None:
        path.pop()
        if path[-1:] == ["QueueMessage"]:
            found[-1][name] = "".join(words)
        words.clear()

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, words.append
    try:
        parser.Parse(body.lstrip(b"\xef\xbb\xbf"), True)
    except expat.ExpatError as error:
        raise ValueError(f"its XML cannot be read: {error}") from error
    return found


def error_code(answer: Answer) -> str:
    """The service's word for what is wrong."""
    return unquote(answer.headers.get("x-ms-error-code", ""))


def http_date(seconds: float) -> str:
    """A time as HTTP has it, in any locale."""
    now = time.gmtime(seconds)
    return (
        f"{_DAYS[now.tm_wday]}, {now.tm_mday:02d} {_MONTHS[now.tm_mon - 1]} {now.tm_year} "
        f"{now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d} GMT"
    )


def read_http_date(text: str) -> datetime | None:
    """A time as HTTP has it; None if it cannot be read."""
    try:
        _, day, month, year, clock, _ = text.split()
        hour, minute, second = (int(part) for part in clock.split(":"))
        return datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
