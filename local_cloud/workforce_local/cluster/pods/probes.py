"""Probes: when a container counts as started, ready and alive, and how one is asked.

`Tally` is pure: results in, verdicts out. `ask` does one HTTP request, TCP connection or command. The loops are the
container's.

Invariant: a verdict changes only after as many equal results in a row as the probe's threshold says.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import aiohttp

from workforce_local.cluster.kube_client import Json


class Kind(StrEnum):
    """The three probes, by their names in the API."""

    STARTUP = "startupProbe"
    READINESS = "readinessProbe"
    LIVENESS = "livenessProbe"


@dataclass(frozen=True)
class Settings:
    """Times and thresholds of a probe, in seconds and results."""

    initial_delay: float
    period: float
    timeout: float
    success_threshold: int
    failure_threshold: int

    @classmethod
    def of(cls, probe: Json) -> Settings:
        """From the API object, with the API's defaults."""
        return cls(
            initial_delay=probe.get("initialDelaySeconds") or 0,
            period=probe.get("periodSeconds") or 10,
            timeout=probe.get("timeoutSeconds") or 1,
            success_threshold=probe.get("successThreshold") or 1,
            failure_threshold=probe.get("failureThreshold") or 3,
        )


@dataclass
class Tally:
    """Results in a row. The verdict is None until a threshold is reached for the first time."""

    settings: Settings
    verdict: bool | None = None
    _last: bool | None = None
    _count: int = 0

    def add(self, *, success: bool) -> bool | None:
        """Count one result and return the verdict."""
        self._count = self._count + 1 if success is self._last else 1
        self._last = success
        threshold = self.settings.success_threshold if success else self.settings.failure_threshold
        if self._count >= threshold:
            self.verdict = success
        return self.verdict


@dataclass(frozen=True)
class Answer:
    """One result, and why it is a failure."""

    success: bool
    message: str = ""


Execute = Callable[[Sequence[str], float], Awaitable[Answer]]
"""Runs a command in the container, within so many seconds; exit code 0 is success."""


def port_number(port: int | str, container: Json) -> int | None:
    """The number of a port, which a probe may name as the container does."""
    if isinstance(port, int) or port.isdecimal():
        return int(port)
    named = (entry for entry in container.get("ports") or [] if entry.get("name") == port)
    return next((int(entry["containerPort"]) for entry in named), None)


async def ask(
    probe: Json, container: Json, address: str, *, session: aiohttp.ClientSession, execute: Execute
) -> Answer:
    """Ask once."""
    timeout = Settings.of(probe).timeout
    if "exec" in probe:
        return await execute(probe["exec"].get("command") or (), timeout)
    for kind, question in (("httpGet", _http), ("tcpSocket", _tcp)):
        if kind in probe:
            action = probe[kind]
            port = port_number(action["port"], container)
            if port is None:
                return Answer(success=False, message=f"container {container['name']} has no port {action['port']!r}")
            return await question(action, action.get("host") or address, port, timeout, session)
    return Answer(success=False, message="this kind of probe is not supported: use httpGet, tcpSocket or exec")


async def _http(action: Json, host: str, port: int, timeout: float, session: aiohttp.ClientSession) -> Answer:
    path = action.get("path") or "/"
    url = f"{(action.get('scheme') or 'HTTP').lower()}://{host}:{port}{path if path.startswith('/') else '/' + path}"
    headers = {"User-Agent": "kube-probe/local", **{h["name"]: h["value"] for h in action.get("httpHeaders") or []}}
    try:
        async with session.get(
            url, headers=headers, timeout=aiohttp.ClientTimeout(total=timeout), allow_redirects=False, ssl=False
        ) as answer:
            return Answer(success=200 <= answer.status < 400, message=f"{url} answered {answer.status}")
    except TimeoutError:
        return Answer(success=False, message=f"{url} did not answer within {timeout:g} s")
    except (aiohttp.ClientError, OSError) as error:
        return Answer(success=False, message=f"{url}: {error}")


async def _tcp(_action: Json, host: str, port: int, timeout: float, _session: aiohttp.ClientSession) -> Answer:
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except (TimeoutError, OSError) as error:
        return Answer(success=False, message=f"{host}:{port}: {error or 'no connection'}")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Answer(success=True)
