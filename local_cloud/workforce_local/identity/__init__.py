"""Entra ID on this machine: tokens, the token endpoint, and the certificate authority of the local servers."""

from workforce_local.identity.tokens import Issuer, Principal, Token, TokenError, audience_of

__all__ = ["Issuer", "Principal", "Token", "TokenError", "audience_of"]
