"""Kubernetes quantities of memory in AzureML's words. Pure."""

from __future__ import annotations

import re

_QUANTITY = re.compile(r"^(\d+)(Ki|Mi|Gi|k|M|G)?$")
_SAME = {"Ki": "k", "Mi": "m", "Gi": "g"}
"""AzureML gives the size to the container engine, whose k, m and g are powers of 1024."""
_DECIMAL = {None: 1, "k": 10**3, "M": 10**6, "G": 10**9}


def shm_size(quantity: str) -> str:
    """Exactly the same size: binary suffixes as they are, everything else in bytes.

    Raises:
        ValueError: Not a quantity that the resource allows.
    """
    match = _QUANTITY.match(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a memory size such as 256Mi")
    number, suffix = int(match[1]), match[2]
    return f"{number}{_SAME[suffix]}" if suffix in _SAME else f"{number * _DECIMAL[suffix]}b"
