"""Who is let in: shared access signatures and web tokens; and which namespace is meant."""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.parse

import pytest

from workforce_local.servicebus.errors import EntityError
from workforce_local.servicebus.namespaces import Namespaces
from workforce_local.servicebus.tokens import authorizer

ENTITY = "sb://bus.servicebus.windows.net/orders"


def signature(resource: str = ENTITY, key: str = "secret", name: str = "Root", expiry: int = 2000) -> str:
    quoted = urllib.parse.quote_plus(resource)
    digest = hmac.new(key.encode(), f"{quoted}\n{expiry}".encode(), hashlib.sha256).digest()
    sig = urllib.parse.quote_plus(base64.b64encode(digest))
    return f"SharedAccessSignature sr={quoted}&sig={sig}&se={expiry}&skn={name}"


@pytest.fixture
def authorize():
    return authorizer({"Root": "secret"}, lambda token: token == "good.jwt", clock=lambda: 1000)


@pytest.mark.parametrize(
    ("token", "accepted"),
    [
        (signature(), True),
        (signature("sb://bus.servicebus.windows.net/"), True),
        (signature("sb://bus.servicebus.windows.net/ORDERS"), True),
        (signature("sb://bus.servicebus.windows.net/order"), False),
        (signature("sb://bus.servicebus.windows.net/orders/deeper"), False),
        (signature(key="other"), False),
        (signature(name="Nobody"), False),
        (signature(expiry=1000), False),
        ("SharedAccessSignature ", False),
        ("SharedAccessSignature sr=%zz&sig=%&se=x&skn=Root", False),
        ("good.jwt", True),
        ("bad.jwt", False),
        ("", False),
    ],
)
def test_a_token_is_accepted_for_what_it_is_for(authorize, token, accepted):
    assert authorize(token, ENTITY) is accepted


def test_without_a_verifier_no_web_token_is_accepted():
    assert not authorizer({})("good.jwt", ENTITY)


def test_a_namespace_is_declared_once():
    namespaces = Namespaces()
    namespaces.declare("bus")
    with pytest.raises(ValueError, match="twice"):
        namespaces.declare("BUS")


def test_without_any_namespace_nothing_is_served():
    with pytest.raises(EntityError, match="no Service Bus namespace"):
        Namespaces().for_host("localhost")
