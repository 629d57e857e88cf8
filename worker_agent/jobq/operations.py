"""The words of an order. Apart from its model in `jobq.control`, because every start of a worker needs the words."""

from __future__ import annotations

from enum import StrEnum


class Operation(StrEnum):
    """What an order asks a node to do."""

    GRACEFUL_DOWNSCALE = "graceful-downscale"
    DO_NOT_ACCEPT_NEW_TASKS = "do-not-accept-new-tasks"
    ACCEPT_NEW_TASKS = "accept-new-tasks"


class Mode(StrEnum):
    """How a drain treats running tasks: complete them, or have them checkpoint at once."""

    FINISH = "finish"
    CHECKPOINT = "checkpoint"


class OnDeadline(StrEnum):
    """What a node does at the order's deadline: go on waiting, or turn to mode checkpoint."""

    WAIT = "wait"
    CHECKPOINT = "checkpoint"
