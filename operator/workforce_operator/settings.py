"""The operator process's settings, all from the environment; the chart writes them.

Reading them starts nothing. A wrong value is refused with one line that names the variable and what it must be
(`SettingsError`), so that a crash-looping Pod tells its reason in its last log line.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import textwrap
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from jobq.cloud import CLOUD_VARIABLE, DEFAULT_CLOUD
from workforce_operator.api.spec import INSTALLATION_ID

PREFIX = "WORKFORCE_"
KEEP_SECONDS = 75.0
"""Idle connections to Azure outlive the pause between two regular passes: else each pass over many regions would begin
with a TLS handshake for every request that is under way at a time."""
_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")


def _own_name() -> str:
    """A name for a process that runs outside of a Pod; a lease held under it is nobody else's."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


class SettingsError(ValueError):
    """An environment variable has a wrong value. The text is one line for the person who set it."""


class Settings(BaseSettings):
    """Everything that can be set. A field is the variable ``WORKFORCE_<FIELD>``, unless it says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    cloud: str = DEFAULT_CLOUD
    """Which Azure: a public cloud's name or the path of a JSON file."""
    namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """Namespaces whose Workforces are served, separated by commas; empty = all."""
    installation_id: Annotated[str, Field(pattern=INSTALLATION_ID)] | None = None
    """Whose jobs are ours; by default the operator makes one at its first start and keeps it in a ConfigMap."""
    pod_namespace: str = Field(default="default", validation_alias=AliasChoices("POD_NAMESPACE"))
    """Namespace of the operator itself: its lease and its installation id live there (variable ``POD_NAMESPACE``)."""
    pod_name: str = Field(default_factory=_own_name, validation_alias=AliasChoices("POD_NAME"))
    """Name of this replica, as the lease's holder shows it; no two may share one (variable ``POD_NAME``)."""
    pod_ip: str = Field(default="127.0.0.1", validation_alias=AliasChoices("POD_IP"))
    """Address that probes and metrics are served on (variable ``POD_IP``)."""
    applicationinsights_connection_string: str | None = Field(
        default=None, validation_alias=AliasChoices("APPLICATIONINSIGHTS_CONNECTION_STRING")
    )
    """Given to the workers whose template sets no other (variable ``APPLICATIONINSIGHTS_CONNECTION_STRING``)."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of ``/livez``, ``/readyz`` and ``/metrics``; 0 = any free one."""
    lease_name: Annotated[str, Field(min_length=1, max_length=253)] = "workforce-operator"
    """Name of the Lease; replicas that share it elect one leader."""
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """Time between two passes over a Workforce while something changes."""
    resync_seconds: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    """Time between two passes over a Workforce that is as desired."""
    pass_seconds: Annotated[float, Field(ge=5, le=3600)] = 300.0
    """A pass that takes longer is given up and tried again."""
    source_seconds: Annotated[float, Field(ge=1, le=600)] = 60.0
    """A reading (one region, the queue, the control channel) that takes longer counts as unknown in this pass."""
    workers: Annotated[int, Field(ge=1, le=256)] = 16
    """Workforces that are worked on at once; most of a pass is waiting for answers."""
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = 20.0
    """Time that passes have to finish when the process is asked to end."""
    log_format: Literal["json", "console"] = "json"
    """json: one object per line. console: for people."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines that are written."""

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        for name in names:
            if not _LABEL.match(name):
                raise ValueError(f"{name!r} is not a namespace's name")
        return names

    @field_validator("log_format", "log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: A variable has a wrong value.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(explain(error, os.environ)) from None


def usage() -> str:
    """What can be set, for people: every variable, its meaning and its default."""
    lines = ["workforce-operator takes its settings from the environment:"]
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        variable = str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"{PREFIX}{name.upper()}"
        meaning = re.sub(r" \(variable ``\w+``\)", "", field.description or "").replace("``", "")
        given = "" if field.default in (None, (), PydanticUndefined) else f" [{field.default}]"
        lines += ["", f"  {variable}{given}", textwrap.indent(textwrap.fill(meaning, 74), "      ")]
    return "\n".join(lines)


def explain(error: ValidationError, environ: Mapping[str, str]) -> str:
    """One line for the first wrong variable: its name, its value, and what is wrong with it."""
    first = error.errors()[0]
    field = str(first["loc"][0])
    variable = field if field.startswith("POD_") else f"{PREFIX}{field.upper()}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{variable}={environ.get(variable, '')!r}: {message}"


assert f"{PREFIX}CLOUD" == CLOUD_VARIABLE  # the agent reads the same variable
