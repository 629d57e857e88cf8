"""Election of one leader among the operator's replicas, by a Lease; and the fence before every write to Azure.

The clock is CLOCK_BOOTTIME: a process whose machine slept finds out before it writes. A renewal counts from the moment
at which its request was *sent*, so that we never believe to lead for longer than others wait.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from workforce_operator.adapters.kubernetes.api import KubernetesApi
from workforce_operator.adapters.kubernetes.election import (
    DURATION,
    RENEW_DEADLINE,
    RETRY,
    Decision,
    Record,
    Sighting,
    decide,
    observe,
    settles_after,
    still_held,
)
from workforce_operator.domain.errors import Conflict, Fenced, Missing, OperatorError

RELEASE_SECONDS = 5.0

_log = structlog.get_logger(__name__)


def boot_time() -> float:
    """Seconds since the machine started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The election of this process. Also the ``WriteGuard``.

    ``identity`` must name one running process at most: a lease that is found in this name is taken to be of an earlier,
    ended process of the same Pod, and is gone on with at once.
    """

    def __init__(
        self,
        api: KubernetesApi,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._seen: Sighting | None = None
        self._renewed: float | None = None
        self._settles = 0.0
        self._problem: str | None = None
        self._acquired = _timestamp()

    def check(self) -> None:
        """Return if this process leads at this moment; else raise ``Fenced``."""
        if not still_held(self._renewed, self._clock()):
            raise Fenced(f"lease {self._namespace}/{self._name} is not held by {self._identity}")

    def settled(self) -> bool:
        """Whether the writes of a former leader that has not given the lease back have arrived by now."""
        return self._clock() >= self._settles

    async def acquire(self, standing_by: Callable[[], None] = lambda: None) -> None:
        """Wait until this process leads. Faults only prolong it; they are logged once per change.

        Args:
            standing_by: Called whenever it is seen that another process leads.
        """
        while not await self._attempt():
            if self._problem is None:
                standing_by()
            await asyncio.sleep(RETRY * (0.8 + 0.4 * random.random()))  # noqa: S311 - jitter, not a secret

    async def hold(self) -> None:
        """Renew until the lease is lost: taken by another, or not renewed before the deadline."""
        while still_held(self._renewed, self._clock()):
            left = RENEW_DEADLINE - (self._clock() - (self._renewed or 0.0))
            await asyncio.sleep(min(RETRY, max(0.0, left)))
            try:
                async with asyncio.timeout(max(0.1, left - RETRY)):
                    await self._attempt()
            except TimeoutError:
                self._tell("Kubernetes does not answer in time")
            if self._renewed is None:
                break
        self._renewed = None
        _log.error("the lease is lost", lease=f"{self._namespace}/{self._name}", problem=self._problem)

    async def release(self) -> None:
        """Give the lease back, so that another replica need not wait. Never raises."""
        seen, held = self._seen, self._renewed is not None
        self._renewed = None
        if seen is None or not held:
            return
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                record = seen.record
                await self._api.replace(self._path(), self._document("", record.version, record.transitions))
        except (OperatorError, TimeoutError) as error:
            _log.warning("the lease was not given back; it runs out by itself", why=str(error))

    async def _attempt(self) -> bool:
        """One round: read unless we lead, decide, write. True if this process leads."""
        try:
            leads = await self._round()
        except (Conflict, Missing):
            # Somebody was faster, has deleted it, or our own last write was stored and its answer lost: the next
            # round reads it. Until then an earlier renewal stays good for as long as it would have been.
            self._seen = None
            leads = False
        except OperatorError as error:
            self._tell(str(error))
            return False
        if self._problem is not None:
            self._problem = None
            _log.info("Kubernetes answers again", lease=f"{self._namespace}/{self._name}")
        return leads

    async def _round(self) -> bool:
        if self._renewed is None or self._seen is None:
            await self._read()
        sent = self._clock()
        decision = decide(self._identity, self._seen, sent)
        if decision is Decision.WAIT:
            self._renewed = None
            return False
        if self._renewed is None:
            self._acquired = _timestamp()
            found = None if self._seen is None else self._seen.record
            self._settles = sent + settles_after(self._identity, found)
        if self._seen is None:
            written = await self._api.create(self._path().rsplit("/", 1)[0], self._document(self._identity, None, 0))
        else:
            record = self._seen.record
            transitions = record.transitions + (decision is Decision.TAKE)
            written = await self._api.replace(self._path(), self._document(self._identity, record.version, transitions))
        self._seen = Sighting(_record(written), self._clock())
        self._renewed = sent
        return True

    async def _read(self) -> None:
        try:
            document = await self._api.get(self._path())
        except Missing:
            self._seen = None
        else:
            self._seen = observe(self._seen, _record(document), self._clock())

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            _log.warning("the lease cannot be read or written", problem=problem)

    def _path(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases/{self._name}"

    def _document(self, holder: str, version: str | None, transitions: int) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "leaseDurationSeconds": int(DURATION) if holder else 1,
            "acquireTime": self._acquired,
            "renewTime": _timestamp(),
            "leaseTransitions": transitions,
        }
        if holder:
            spec["holderIdentity"] = holder
        metadata = {"name": self._name, "namespace": self._namespace}
        if version is not None:
            metadata["resourceVersion"] = version
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def _record(document: Mapping[str, Any]) -> Record:
    spec = document.get("spec") or {}
    return Record(
        holder=str(spec.get("holderIdentity") or ""),
        version=str(document["metadata"]["resourceVersion"]),
        duration=float(spec.get("leaseDurationSeconds") or DURATION),
        transitions=int(spec.get("leaseTransitions") or 0),
    )


def _timestamp() -> str:
    """For people: nothing is decided by it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
