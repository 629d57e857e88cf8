"""Which action on which scope a request of the resource manager is, and who may not do it.

Everybody may do everything until something is denied: roles and their assignments are not modelled. Invariant: a
denial of a scope holds for everything below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete", "POST": "action"}


@dataclass(frozen=True)
class Deed:
    """What somebody wants to do."""

    action: str
    scope: str


def deed(method: str, path: str) -> Deed:
    """Read a request: `.../workspaces/w/jobs/j/cancel` by POST is `jobs/cancel/action` on `.../jobs/j`."""
    head, _, tail = path.rstrip("/").rpartition("/providers/")
    if not head:
        return Deed(f"Microsoft.Resources/subscriptions/{_VERBS.get(method, 'action')}", path)
    provider, *rest = tail.split("/")
    kinds = [provider, *rest[::2]]
    # A path that ends with a kind is a collection or an action: its scope is what it belongs to.
    owner = rest if len(rest) % 2 == 0 else rest[:-1]
    return Deed("/".join([*kinds, _VERBS.get(method, "action")]), "/".join([f"{head}/providers/{provider}", *owner]))


@dataclass(frozen=True)
class Denial:
    """Somebody (`*`: everybody) may not do something (wildcards allowed) on a scope and below it."""

    action: str
    scope: str = "/"
    principal: str = "*"

    def forbids(self, principal: str, wanted: Deed) -> bool:
        """Whether this is it; ids and actions have no case."""
        scope, below = self.scope.lower().rstrip("/"), wanted.scope.lower()
        return (
            self.principal in ("*", principal)
            and fnmatchcase(wanted.action.lower(), self.action.lower())
            and (below == scope or below.startswith(scope + "/"))
        )
