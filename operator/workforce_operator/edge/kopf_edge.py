"""The kopf edge: turns watch events into queue keys, shows what new objects are like, and does nothing else.

kopf is the informer only. No handler of a kind that tracks state (create, update, timer, daemon) is registered, so it
writes nothing: no annotations, finalizers, status or Events. The registry is our own, so that importing this module
changes nothing and nothing implicit is registered.

Invariant: a handler cannot fail and never waits; kopf drops what an event handler raises.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kopf
from typing_extensions import override

from workforce_operator.adapters.kubernetes.store import stored_of
from workforce_operator.api.base import DRAIN_ANNOTATION, GROUP, PLURAL, VERSION
from workforce_operator.edge.informer import Run, Wake
from workforce_operator.ports.kubernetes import Key
from workforce_operator.reconcile.recent import is_new

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a Pod finds its service account's token and the cluster's certificate authority."""


def kopf_run(namespaces: Sequence[str]) -> Run:
    """A run of kopf over these namespaces, or over all if there are none."""

    async def run(wake: Wake, stop: asyncio.Event) -> None:
        await kopf.operator(
            registry=build_registry(wake),
            settings=build_settings(),
            namespaces=list(namespaces),
            clusterwide=not namespaces,
            stop_flag=stop,
        )

    return run


def build_registry(wake: Wake) -> kopf.OperatorRegistry:
    """The handlers: log in, and wake a key at first sight and when people change what they want."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        # The same order as the adapters': what is said explicitly wins.
        account = None if os.environ.get("KUBECONFIG") else service_account()
        return account or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, when=_concerns)
    async def changed(body: kopf.Body, meta: kopf.Meta, memo: kopf.Memo, event: kopf.RawEvent, **_: Any) -> None:
        memo["trigger"] = _trigger(meta)
        new = event["type"] != "DELETED" and is_new(meta.get("finalizers") or (), meta.get("deletionTimestamp"))
        wake(Key(meta["namespace"], meta["name"]), stored_of(body) if new else None)

    return registry


def _concerns(event: kopf.RawEvent, meta: kopf.Meta, memo: kopf.Memo, **_: Any) -> bool:
    """First sight, or what people want has changed. Without this each pass would wake the next one.

    A filter, because kopf makes much of calling a handler, and most events are our own status writes.
    """
    return event["type"] in {None, "ADDED", "DELETED"} or memo.get("trigger") != _trigger(meta)


def _trigger(meta: kopf.Meta) -> tuple[object, ...]:
    """What our own status writes do not change."""
    wishes = meta.get("annotations") or {}
    return meta.get("generation"), meta.get("deletionTimestamp"), wishes.get(DRAIN_ANNOTATION)


class _NoDifferences(kopf.DiffBaseStorage):
    """kopf compares each object with what it last handled, and copies it for that. Nobody here asks for it."""

    @override
    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    @override
    def fetch(self, **_: Any) -> None:
        return None

    @override
    def store(self, **_: Any) -> None:
        """Nothing: kopf never writes here."""


class _NoProgress(kopf.ProgressStorage):
    """Where kopf keeps how far its handlers have come; those here have nothing to remember."""

    @override
    def fetch(self, **_: Any) -> None:
        return None

    @override
    def store(self, **_: Any) -> None:
        """Nothing: kopf never writes here."""

    @override
    def purge(self, **_: Any) -> None:
        """Nothing: kopf never writes here."""

    @override
    def touch(self, **_: Any) -> None:
        """Nothing: kopf never writes here."""

    @override
    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def build_settings() -> kopf.OperatorSettings:
    """Settings of an informer for production: nothing that writes, bounded streams, dead connections noticed."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    # kopf removes this finalizer from everything it watches: it must never be ours.
    settings.persistence.finalizer = f"{GROUP}/unused-by-design"
    settings.persistence.diffbase_storage = _NoDifferences()
    settings.persistence.progress_storage = _NoProgress()
    settings.queueing.idle_timeout = 1.0
    settings.watching.server_timeout = 600
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 1.0
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 10
    settings.networking.enforce_retry_after = True
    # Our own supervisor ends the process; kopf runs in a thread of ours and must not kill it.
    settings.process.ultimate_exiting_timeout = None
    return settings


def service_account() -> kopf.ConnectionInfo | None:
    """The Pod's own account. Unlike kopf's, it uses the address that Kubernetes puts into the environment: no DNS."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    token = ACCOUNT / "token"
    if not host or not token.exists():
        return None
    host = f"[{host}]" if ":" in host else host
    return kopf.ConnectionInfo(
        server=f"https://{host}:{port}",
        ca_path=str(ACCOUNT / "ca.crt"),
        token=token.read_text(encoding="utf-8").strip(),
    )
