"""The client of `jobq.http` where the environment names a proxy: aiohttp, which knows how to speak to one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import aiohttp
from yarl import URL

from jobq.http import ANSWER_SECONDS, CONNECT_SECONDS, IDLE_SECONDS, Answer, AnswerLost, NotSent, trust

_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
_OWN_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class ProxiedClient:
    """Asks an origin through the proxy of the environment.

    Args:
        origin: Scheme, host and port.
        ca_file: The certificate authorities to trust instead of the public ones.
    """

    def __init__(self, origin: str, ca_file: Path | None) -> None:
        self._origin = origin.rstrip("/")
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """See the protocol."""
        url = URL(self._origin + target, encoded=True)
        try:
            async with self._opened().request(
                method, url, headers=headers, data=body or None, allow_redirects=False, skip_auto_headers=_OWN_HEADERS
            ) as answer:
                content = await answer.read()
        except _NOT_SENT as error:
            raise NotSent(str(error)) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AnswerLost(str(error) or type(error).__name__) from error
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, content)

    async def close(self) -> None:
        """See the protocol."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=trust(self._ca_file), limit=0, keepalive_timeout=IDLE_SECONDS)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=True,
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS),
            )
        return self._session
