"""What can go wrong with a task queue: the one tree of errors that backends raise and callers branch on.

JobQError
├── TaskError            a message that is no task, or a task that cannot be written
│   └── TaskTooLarge     above the service's limit; found before sending
├── NotStored            a push that the service refused; the task is not in the queue
├── MaybeStored          a push whose answer was lost; nobody knows
├── LockLost             the message is no longer ours: expired, and perhaps with somebody else
├── QueueMissing         no such queue
├── QueueRefused         the service says no, and will say so again: rights, names
└── QueueUnavailable     the service did not answer properly; worth another try later
"""

from __future__ import annotations


class JobQError(Exception):
    """Base of everything this library raises on purpose."""


class TaskError(JobQError, ValueError):
    """A message that is no task, or a task that cannot be written. The text says what is wrong with it."""


class TaskTooLarge(TaskError):
    """A task above the service's limit of one message."""

    def __init__(self, size: int, limit: int, task_id: str | None = None) -> None:
        name = f"task {task_id} was not stored: it" if task_id else "the task"
        super().__init__(f"{name} is {size} bytes as sent, above the limit of {limit} bytes of one message")
        self.size = size
        self.limit = limit


class NotStored(JobQError):
    """A push that the service refused or that never reached it: the task is not in the queue."""


class MaybeStored(JobQError):
    """A push whose answer was lost. It is not repeated, because the task might then be in the queue twice."""


class LockLost(JobQError):
    """The message is no longer ours to renew or settle: somebody else has it, or it is gone."""

    def __init__(self, text: str, *, gone: bool = False) -> None:
        super().__init__(text)
        self.gone = gone


class QueueMissing(JobQError):
    """The queue does not exist."""


class QueueRefused(JobQError):
    """The service refuses, and repeating the call will not help: missing rights, an invalid name."""


class QueueUnavailable(JobQError):
    """The service could not be reached or failed; another try later may succeed."""


def first_line(error: BaseException) -> str:
    """An error of an SDK in one line; of a chain of credentials the one that decided, and what to do without any."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    tried = [line.strip() for line in lines if line.startswith("\t")]
    if not tried:
        return lines[0].strip()
    todo = "; log in with `az login`, or set JOBQ_CONNECTION_STRING" if len(tried) > 1 else ""
    return f"no credential works, the last one tried is {tried[-1]}{todo}"
