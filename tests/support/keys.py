"""RSA keys: making one takes as long as twenty tests, so all tests share a few."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    """A key; other numbers are other keys."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
