"""The Python callable that runs tasks: found by its name, and called with what it asks for."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

from workforce_agent.processors.port import ProcessorError

_OURS = ("_job_id", "_worker_id")
"""Given to a callable that has such a parameter, and to no other."""
_ADDED: Mapping[str, Any] = {"env": {}, "bg_dirsync_to": None}
"""What `push`, ours and the ancestor's, adds to every line of input, whoever will run it."""


def load(name: str, slots: int) -> Callable[..., Any]:
    """Find `module:function`, or make an instance of `module.Class`.

    The working directory is looked into like in a Python program that was started there.

    Args:
        name: Of the function or class.
        slots: How many tasks run at a time; a class that has the parameter `num_workers` is given it.

    Raises:
        ProcessorError: There is no such callable.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module_name, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    if not (module_name and attribute):
        raise ProcessorError(f"{name!r} names no callable: write module:function or module.Class")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
        if inspect.isclass(found):
            make: Any = found
            found = make(num_workers=slots) if "num_workers" in (_parameters(make) or ()) else make()
    except Exception as error:  # importing and creating run code of the user
        raise ProcessorError(f"{name} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ProcessorError(f"{name} is no callable, but {type(found).__name__}")
    return found  # type: ignore[no-any-return] # checked in the line above


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a call gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - its kind is asked for, not whether it exists


def asked_for(function: Callable[..., Any]) -> frozenset[str]:
    """What of ours a callable asks for; to be found once, as it takes longer than a short task's call."""
    parameters = _parameters(function)
    if parameters is None:
        return frozenset(_ADDED)
    named = {name for name in (*_OURS, *_ADDED) if name in parameters}
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return frozenset(named | set(_ADDED) if takes_any else named)


def arguments(asked: Container[str], kwargs: Mapping[str, Any], *, job_id: str, worker: str) -> dict[str, Any]:
    """The arguments of a call: the task's, and its id and the worker's if they are asked for.

    Workers of the ancestor leave theirs in what they send back, hence they are taken out first. So is what `push` has
    added for shells, where the callable has no place for it.
    """
    given = {
        name: value
        for name, value in kwargs.items()
        if name not in _OURS and (name in asked or name not in _ADDED or value != _ADDED[name])
    }
    ours = dict(zip(_OURS, (job_id, worker), strict=True))
    return {**given, **{name: value for name, value in ours.items() if name in asked}}


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Those of a callable; None where it does not tell."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
