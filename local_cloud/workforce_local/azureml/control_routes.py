"""`POST /_local/...`: the same as `control`, for other programs that know the admin token.

Bodies are JSON objects in camelCase; wrong ones are answered 400 with the field's name, unknown names 404. All of them:

    POST /_local/preempt            {target, noticeSeconds?, withdrawAfter?}             -> {event}
    POST /_local/schedule-event     {target, eventType, noticeSeconds?, withdrawAfter?, durationSeconds?} -> {event}
    POST /_local/withdraw           {event}                                              -> {withdrawn}
    POST /_local/lose-node          {target}
    POST /_local/pause              {job}
    POST /_local/resume             {job}
    POST /_local/use-up             {job}
    POST /_local/fail               {job, codes, message}
    POST /_local/report-status      {job, status?}
    POST /_local/set-quota          {location, cores?}
    POST /_local/set-shared         {workspace?, compute, nodes}
    POST /_local/set-times          {workspace?, compute?, starting?, preparing?, ...}   -> {computes}
    POST /_local/set-index-lag      {seconds}
    POST /_local/set-list-lag       {seconds}
    POST /_local/throttle           {on}
    POST /_local/set-outage         {location?, on?}
    POST /_local/deny               {action, scope?, principal?}
    POST /_local/allow-all          {}
    POST /_local/revoke-credentials {clientId?, disable?}
    POST /_local/restore-credentials {clientId?}
    POST /_local/set-token-lifetime {seconds}
    GET  /_local/nodes                                                                   -> [{node_id, job, ...}]

A target is a node's id, a job's name, or `workspace/job`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import Field, ValidationError

from workforce_local.admin import PREFIX, guarded, refusal
from workforce_local.azureml.control import Control
from workforce_local.azureml.maintenance import Notice
from workforce_local.azureml.permissions import Denial
from workforce_local.config import ComputeTimes, Seconds
from workforce_local.imds import NOTICE_SECONDS, EventType
from workforce_local.model import Model


class _Preempt(Model):
    target: str
    notice_seconds: Seconds = 30.0
    withdraw_after: Seconds | None = None


class _Schedule(Model):
    target: str
    event_type: EventType
    notice_seconds: Seconds | None = None
    withdraw_after: Seconds | None = None
    duration_seconds: int = -1

    def notice(self) -> Notice:
        """With Azure's least notice unless another is given."""
        given = self.notice_seconds
        seconds = NOTICE_SECONDS[self.event_type] if given is None else given
        return Notice(self.event_type, seconds, self.withdraw_after, self.duration_seconds)


class _EventOrder(Model):
    event: str


class _Target(Model):
    target: str


class _JobOrder(Model):
    job: str


class _Report(Model):
    job: str
    status: str | None = None


class _Failure(Model):
    job: str
    codes: Annotated[tuple[str, ...], Field(min_length=1)]
    message: str = "the service has ended this job"


class _Quota(Model):
    location: str
    cores: Annotated[int, Field(ge=0)] | None = None


class _Shared(Model):
    workspace: str = ""
    compute: str
    nodes: Annotated[int, Field(ge=0)]


class _Lag(Model):
    seconds: Seconds


class _Switch(Model):
    on: bool


class _Outage(Model):
    location: str = "*"
    on: bool = True


class _Deny(Model):
    action: str
    scope: str = "/"
    principal: str = "*"


class _Nothing(Model):
    pass


class _Revoke(Model):
    client_id: str | None = None
    disable: bool = False


class _Restore(Model):
    client_id: str | None = None


class _Lifetime(Model):
    seconds: Annotated[int, Field(ge=1)]


M = TypeVar("M", bound=Model)
_Answer = dict[str, Any] | None


def control_routes(token: str, control: Control) -> list[web.RouteDef]:
    """What to add to a server."""

    def post(name: str, model: type[M], act: Callable[[M], _Answer]) -> web.RouteDef:
        return web.post(PREFIX + name, guarded(token, _handler(model, act)))

    async def nodes(request: web.Request) -> web.Response:
        return web.json_response([asdict(view) for view in control.nodes(request.query.get("location"))])

    def preempt(order: _Preempt) -> _Answer:
        return {"event": control.preempt(order.target, order.notice_seconds, order.withdraw_after)}

    def revoke(order: _Revoke) -> None:
        control.revoke_credentials(order.client_id, disable=order.disable)

    return [
        web.get(f"{PREFIX}nodes", guarded(token, nodes)),
        post("preempt", _Preempt, preempt),
        post("schedule-event", _Schedule, lambda it: {"event": control.schedule_event(it.target, it.notice())}),
        post("withdraw", _EventOrder, lambda it: {"withdrawn": control.withdraw(it.event)}),
        post("lose-node", _Target, lambda it: control.lose_node(it.target)),
        post("pause", _JobOrder, lambda it: control.pause(it.job)),
        post("resume", _JobOrder, lambda it: control.resume(it.job)),
        post("use-up", _JobOrder, lambda it: control.use_up(it.job)),
        post("fail", _Failure, lambda it: control.fail(it.job, it.codes, it.message)),
        post("report-status", _Report, lambda it: control.report_status(it.job, it.status)),
        post("set-quota", _Quota, lambda it: control.set_quota(it.location, it.cores)),
        post("set-shared", _Shared, lambda it: control.set_shared(it.workspace, it.compute, it.nodes)),
        post("set-times", ComputeTimes, lambda it: {"computes": control.set_times(it)}),
        post("set-index-lag", _Lag, lambda it: control.set_index_lag(it.seconds)),
        post("set-list-lag", _Lag, lambda it: control.set_list_lag(it.seconds)),
        post("throttle", _Switch, lambda it: control.throttle(it.on)),
        post("set-outage", _Outage, lambda it: control.set_outage(it.location, it.on)),
        post("deny", _Deny, lambda it: control.deny(Denial(it.action, it.scope, it.principal))),
        post("allow-all", _Nothing, lambda _: control.allow_all()),
        post("revoke-credentials", _Revoke, revoke),
        post("restore-credentials", _Restore, lambda it: control.restore_credentials(it.client_id)),
        post("set-token-lifetime", _Lifetime, lambda it: control.set_token_lifetime(it.seconds)),
    ]


def _handler(model: type[M], act: Callable[[M], _Answer]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            order = model.model_validate_json(await request.read() or b"{}")
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the body"
            return refusal(f"{where}: {first['msg']}")
        try:
            return web.json_response(act(order) or {})
        except LookupError as error:
            return refusal(str(error.args[0]), status=404)

    return answer
