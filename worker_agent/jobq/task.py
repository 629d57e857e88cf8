"""A task and its wire format, version 1: the JSON text that JobQ producers and workers exchange.

The arguments are JSON inside the JSON. Their text is kept as it came and written as it was, so that a task that is
retried, returned or dead-lettered carries the same bytes as before, but for the retries left. Fields that this reader
does not know are kept, too. Nothing here does input or output.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Self

from jobq.errors import TaskError, TaskTooLarge
from jobq.names import DETERMINISTIC_IDS_VARIABLE

VERSION = 1
READABLE_VERSIONS = frozenset({0, 1})

MESSAGE_LIMIT = 64 * 1024
"""Bytes of one Storage Queue message, counted as sent: UTF-8, and escaped for XML."""

TIMEOUT_FIELD = "timeout_seconds"
"""How long a task may run: beside the arguments, where workers that do not know it do not look."""

LINE_LIMIT = 1000
"""Characters of an output line that a dead letter keeps."""

_FIELDS = frozenset({"version", "reply_requested", "kwargs", "num_retries", "id"})


@dataclass(frozen=True, slots=True)
class Task:
    """A unit of work.

    Attributes:
        kwargs_text: The arguments as JSON text.
        num_retries: How often it may be tried again after a failure.
        id: What people and logs call it; stable over retries.
        reply_requested: Kept for the wire format; nothing answers.
        extra: Fields of the message that this version does not know.
    """

    kwargs_text: str
    num_retries: int
    id: str
    reply_requested: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def new(
        cls,
        kwargs: Mapping[str, Any],
        *,
        num_retries: int = 0,
        reply_requested: bool = False,
        id: str | None = None,  # noqa: A002 - the wire format's name
        deterministic: bool | None = None,
        timeout: timedelta | None = None,
    ) -> Self:
        """Make a task.

        Args:
            kwargs: Its arguments; anything that JSON can hold.
            num_retries: How often it may be tried again after a failure.
            reply_requested: Part of the wire format.
            id: Given by the caller, or made: equal tasks have equal ids, unless `JOBQ_DETERMINISTIC_IDS` says no.
            deterministic: Overrides the environment variable.
            timeout: How long it may run, if the worker does not allow less; no part of its id.

        Raises:
            TaskError: The arguments cannot be written as JSON, or the timeout is no time.
        """
        if timeout is not None and timeout <= timedelta(0):
            raise TaskError("a task's timeout must be longer than nothing")
        try:
            text = json.dumps(dict(kwargs))
        except (TypeError, ValueError) as error:
            raise TaskError(f"the task's arguments cannot be written as JSON: {error}") from error
        if id is None:
            chosen = deterministic_ids() if deterministic is None else deterministic
            id = content_id(text, num_retries, reply_requested) if chosen else uuid.uuid4().hex  # noqa: A001 - as above
        extra = {} if timeout is None else {TIMEOUT_FIELD: timeout.total_seconds()}
        return cls(text, num_retries, id, reply_requested, extra)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments, read anew at each call, so that no caller can change the task.

        Raises:
            TaskError: They are not a JSON object.
        """
        try:
            value = json.loads(self.kwargs_text)
        except (ValueError, RecursionError) as error:
            raise TaskError(f"kwargs is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise TaskError(f"kwargs must hold a JSON object, not {_kind(value)}")
        return value

    def retried(self) -> Self:
        """The same task with one retry less."""
        return replace(self, num_retries=self.num_retries - 1)

    def encode(self) -> str:
        """The message's text."""
        body = {
            "version": VERSION,
            "reply_requested": self.reply_requested,
            "kwargs": self.kwargs_text,
            "num_retries": self.num_retries,
            "id": self.id,
        }
        return json.dumps({**body, **self.extra})


def deterministic_ids(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether ids are made from a task's content, which is the default."""
    return environ.get(DETERMINISTIC_IDS_VARIABLE, "true").lower() in {"1", "true", "yes"}


def content_id(kwargs_text: str, num_retries: int, reply_requested: bool) -> str:  # noqa: FBT001 - a field's value
    """The id that every writer of this format gives to a task of this content."""
    body = {"version": VERSION, "reply_requested": reply_requested, "kwargs": kwargs_text, "num_retries": num_retries}
    return hashlib.md5(json.dumps(body).encode(), usedforsecurity=False).hexdigest()


def shell_kwargs(command: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Arguments of a shell task, with the keys and their order as command lines push them."""
    return {"cmd": command, "bg_dirsync_to": None, "env": dict(env or {})}


def task_kwargs(command: str | Mapping[str, Any], env: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    """Arguments of a task that a program pushes: a command alone has one key, as other writers have it."""
    if not isinstance(command, str):
        return command
    return shell_kwargs(command, env) if env else {"cmd": command}


def decode_task(text: str) -> Task:
    """Read a message.

    Raises:
        TaskError: It is no task of a version that we read; the text is the reason given with the dead letter.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"the message is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise TaskError(f"the message must be a JSON object, not {_kind(body)}")
    if "version" not in body:
        raise TaskError("the message has no field version")
    version = body["version"]
    if not isinstance(version, int) or isinstance(version, bool) or version not in READABLE_VERSIONS:
        raise TaskError(f"task version {version!r} is not supported: this reader knows 0 and 1")
    kwargs_text = _typed(body, "kwargs", str, None)
    num_retries = _typed(body, "num_retries", int, None)
    reply_requested = _typed(body, "reply_requested", bool, False if version == 0 else None)
    made = None if "id" in body else content_id(kwargs_text, num_retries, reply_requested)
    task_id = _typed(body, "id", str, made)
    extra = {key: value for key, value in body.items() if key not in _FIELDS}
    task = Task(kwargs_text, num_retries, task_id, reply_requested, extra)
    task.kwargs  # noqa: B018 - reads the inner JSON, so that a bad one is found here
    return task


def message_size(text: str) -> int:
    """Bytes of a message as sent."""
    return len(text.encode()) + 4 * (text.count("&") + text.count("\r")) + 3 * (text.count("<") + text.count(">"))


def check_size(text: str, limit: int = MESSAGE_LIMIT) -> None:
    """Refuse what the service would refuse, before sending.

    Raises:
        TaskTooLarge: The text is above the limit.
    """
    size = message_size(text)
    if size > limit:
        raise TaskTooLarge(size, limit)


def _typed(body: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = body.get(name, default)
    if value is None:
        raise TaskError(f"the message has no field {name}")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TaskError(f"{name} must be {kind.__name__}, not {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    return type(value).__name__
