"""Errors in the shapes in which ARM and AzureML answer them.

Each constructor names one situation. `ArmError` is raised anywhere below the HTTP layer and becomes a response there.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from workforce_local.azureml.ids import PROVIDER, WorkspaceId


class ArmError(Exception):
    """A request that is answered with an error body.

    Attributes:
        status: HTTP status.
        code: The error's code.
        details: AzureML's additional information; None for errors of ARM itself, which has none.
        headers: Further response headers.
        html: What is answered instead of JSON, by something that stands before the service.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        html: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details
        self.headers = dict(headers or {})
        self.html = html

    def body(self) -> dict[str, Any]:
        """The error document."""
        error: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.details is not None:
            correlation = {"operation": uuid.uuid4().hex, "request": uuid.uuid4().hex[:16]}
            info = {"ComponentName": "managementfrontend", "Correlation": correlation, **self.details}
            additional = [{"type": kind, "info": {"value": value}} for kind, value in info.items()]
            error |= {"target": None, "details": [], "additionalInfo": additional}
        return {"error": error}


def user_error(message: str, *inner: str, status: int = 400, parameters: Mapping[str, str] | None = None) -> ArmError:
    """AzureML's answer to a request that the caller must change.

    Args:
        message: For people.
        inner: Inner codes, the outermost first.
        status: HTTP status.
        parameters: The message's parameters.
    """
    nested: dict[str, Any] | None = None
    for code in reversed(inner or ("BadArgument",)):
        nested = {"code": code, "innerError": nested}
    details: dict[str, Any] = {"InnerError": nested}
    if parameters:
        details["MessageParameters"] = dict(parameters)
    return ArmError(status, "UserError", message, details=details)


def job_property_immutable(changed: str) -> ArmError:
    """A PUT of an existing job that differs in something that cannot change, or that the service thinks does."""
    message = (
        "A job with this name already exists. If you are trying to create a new job, use a different name. "
        f"If you are trying to update an existing job, the existing job's {changed} cannot be changed. "
        "Only description, tags, displayName, properties, and isArchived can be updated."
    )
    return user_error(message, "Immutable", "JobPropertyImmutable", parameters={"property": f" {changed}"})


def run_not_found(job: str) -> ArmError:
    """No job of that name."""
    return user_error(f"Run {job} was not found", "NotFound", "RunNotFound", status=404)


def not_found(what: str) -> ArmError:
    """Something in a workspace that does not exist."""
    return user_error(f"{what} was not found.", "NotFound", status=404)


def subscription_not_found(subscription: str) -> ArmError:
    """ARM's answer for a foreign subscription."""
    return ArmError(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")


def group_not_found(group: str) -> ArmError:
    """ARM's answer for a missing resource group."""
    return ArmError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")


def workspace_not_found(workspace: WorkspaceId) -> ArmError:
    """ARM's answer for a missing workspace."""
    return ArmError(
        404,
        "ResourceNotFound",
        f"The Resource '{PROVIDER}/workspaces/{workspace.workspace}' under resource group '{workspace.group}' was "
        "not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def route_not_found(method: str, path: str) -> ArmError:
    """A request that this service has no route for."""
    return ArmError(404, "InvalidResourceType", f"{method} {path} could not be found: the resource type is unknown.")


def unauthorized(code: str, message: str, authority: str) -> ArmError:
    """A request without an acceptable token."""
    challenge = f'Bearer authorization_uri="{authority}", error="invalid_token", error_description="{message}"'
    return ArmError(401, code, message, headers={"WWW-Authenticate": challenge})


def insufficient_claims(message: str, authority: str, claims: str) -> ArmError:
    """A token from before its principal's sessions were revoked: the challenge asks for a new one."""
    challenge = (
        f'Bearer realm="", authorization_uri="{authority}", error="insufficient_claims", claims="{claims}", '
        f'error_description="{message}"'
    )
    return ArmError(401, "InvalidAuthenticationToken", message, headers={"WWW-Authenticate": challenge})


def authorization_failed(principal: str, action: str, scope: str) -> ArmError:
    """A principal without the right to do something somewhere."""
    message = (
        f"The client '{principal}' with object id '{principal}' does not have authorization to perform action "
        f"'{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh "
        "your credentials."
    )
    return ArmError(403, "AuthorizationFailed", message)


def nginx_unavailable() -> ArmError:
    """What the gateway of an overloaded region answers: a page for people, and no word of JSON."""
    page = (
        "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n"
        "<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n<hr><center>nginx</center>\r\n"
        "</body>\r\n</html>\r\n"
    )
    return ArmError(503, "ServiceUnavailable", "Service Temporarily Unavailable", html=page)


def throttled(retry_after: int, headers: Mapping[str, str] | None = None) -> ArmError:
    """A token bucket is empty."""
    message = f"The request is being throttled as the limit has been reached. Please retry after {retry_after} seconds."
    return ArmError(429, "TooManyRequests", message, headers={"Retry-After": str(retry_after), **(headers or {})})
