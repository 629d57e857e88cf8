"""Credentials of either kind, and tokens that are asked for again before they end."""

import threading
import time

import pytest
from azure.core.credentials import AccessToken

from jobq.backends.storage_rest import Request, SharedKeyIdentity, TokenIdentity, read_connection_string
from jobq.opening import as_asynchronous
from tests.support.tables import table


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


REQUEST = Request("GET", "/q/messages", {}, 0, {})


@pytest.mark.parametrize(("lifetime", "asked"), [(3600, 1), (200, 3)])
async def test_a_token_is_kept_until_shortly_before_its_end(lifetime, asked):
    given = Synchronous(lifetime)
    identity = TokenIdentity(as_asynchronous(given), "https://storage.azure.com")
    found = [await identity.sign(REQUEST) for _ in range(3)]
    assert len(given.asked) == asked
    assert found[-1] == ({"Authorization": f"Bearer token-{asked}"}, "")
    assert given.asked[0][0] == ("https://storage.azure.com/.default",)


async def test_a_token_that_the_service_does_not_believe_is_asked_for_again():
    given = Synchronous()
    identity = TokenIdentity(as_asynchronous(given), "https://storage.azure.com")
    await identity.sign(REQUEST)
    assert identity.refused()
    assert (await identity.sign(REQUEST))[0] == {"Authorization": "Bearer token-2"}


@table(
    ("text", "url"),
    [
        ("AccountName=a;AccountKey=a2V5", "https://a.queue.core.windows.net"),
        ("DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;EndpointSuffix=x.test", "http://a.queue.x.test"),
        ("AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:1/a;", "http://127.0.0.1:1/a"),
    ],
)
def test_a_connection_string_says_where_the_service_is(text, url):
    account = read_connection_string(text)
    assert (account.name, account.url) == ("a", url)
    assert isinstance(account.identity, SharedKeyIdentity)


async def test_a_shared_access_signature_goes_into_the_query_as_it_is():
    account = read_connection_string("QueueEndpoint=https://a.test;SharedAccessSignature=sv=1&sig=x%2B")
    assert await account.identity.sign(REQUEST) == ({}, "sv=1&sig=x%2B")


@table(
    ("text", "words"),
    [
        ("", "neither QueueEndpoint nor AccountName"),
        ("AccountName=a", "neither AccountKey nor SharedAccessSignature"),
        ("AccountName=a;AccountKey=hush1", "AccountKey of the connection string is not base64"),
        ("AccountName=a;AccountKey=a2V5;QueueEndpoint=nonsense", "QueueEndpoint of the connection string is no URL"),
    ],
)
def test_a_connection_string_that_is_none_is_explained_without_its_secret(text, words):
    with pytest.raises(ValueError, match=words) as error:
        read_connection_string(text)
    assert "hush" not in str(error.value)
