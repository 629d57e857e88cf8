"""The hash that tells whether two hired jobs are made of the same template.

Stable over versions of the operator: a field at its default does not count, so that a new field with a default changes
no hash. Tags do not count either, because they change nothing about the work.
"""

from __future__ import annotations

import hashlib
import json

from workforce_operator.api.spec import Queue, Template

VERSION = "v1"
_DIGITS = 16


def template_hash(template: Template, queue: Queue) -> str:
    """Hash of the canonical template merged with the queue, as ``v1:<hex>``."""
    canonical = {
        "template": template.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"tags"}),
        "queue": queue.model_dump(mode="json", by_alias=True, exclude_defaults=True),
    }
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{VERSION}:{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"
