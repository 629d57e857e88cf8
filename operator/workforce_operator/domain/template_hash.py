"""The hash that tells whether two hired jobs are made of the same template.

Stable over versions of the operator: a field at its default does not count, so that a new field with a default changes
no hash. Tags do not count either, because they change nothing about the work.
"""

from __future__ import annotations

import hashlib
import json

from workforce_operator.api.spec import Queue
from workforce_operator.api.template import Template

VERSION = "v1"
_DIGITS = 16


def template_hash(template: Template, queue: Queue) -> str:
    """Hash of the canonical template, a region's overrides merged in, and the queue, as ``v1:<hex>``."""
    body = template.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"tags"})
    if "environmentVariables" in body:
        # Their order says nothing, and depends on which of them a region overrides.
        body["environmentVariables"].sort(key=lambda variable: variable["name"])
    canonical = {
        "template": body,
        "queue": queue.model_dump(mode="json", by_alias=True, exclude_defaults=True),
    }
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{VERSION}:{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"
