"""Credentials of either kind, and tokens that are asked for again before they end."""

import threading
import time

import pytest
from azure.core.credentials import AccessToken
from yarl import URL

from jobq.backends.storage_post import TokenIdentity, shared_key
from jobq.opening import as_asynchronous


class Synchronous:
    """As the credentials of azure.identity are."""

    def __init__(self, lifetime=3600):
        self.lifetime = lifetime
        self.asked = []

    def get_token(self, *scopes, **options):
        self.asked.append((scopes, threading.current_thread() is threading.main_thread()))
        return AccessToken(f"token-{len(self.asked)}", int(time.time()) + self.lifetime)


class Asynchronous:
    """As those of azure.identity.aio are."""

    async def get_token(self, *scopes, **options):
        return AccessToken("token", 9999999999)


async def test_a_synchronous_credential_is_asked_in_a_thread():
    given = Synchronous()
    async with as_asynchronous(given) as credential:
        assert (await credential.get_token("scope")).token == "token-1"
    assert given.asked == [(("scope",), False)]


def test_an_asynchronous_credential_is_used_as_it_is():
    given = Asynchronous()
    assert as_asynchronous(given) is given


@pytest.mark.parametrize(("lifetime", "asked"), [(3600, 1), (200, 3)])
async def test_a_token_is_kept_until_shortly_before_its_end(lifetime, asked):
    given = Synchronous(lifetime)
    identity = TokenIdentity(as_asynchronous(given), "https://storage.azure.com")
    found = [await identity.authorization(URL("https://a/q/messages"), 1, {}) for _ in range(3)]
    assert len(given.asked) == asked
    assert found[-1] == f"Bearer token-{asked}"
    assert given.asked[0][0] == ("https://storage.azure.com/.default",)


def test_a_connection_string_without_a_key_is_left_to_the_sdk():
    assert shared_key("QueueEndpoint=https://a;SharedAccessSignature=sv=1&sig=x") is None
    assert shared_key("AccountName=a;AccountKey=a2V5;") is not None
