"""Federated identity credentials: which assertions stand for an application. Entra ID's numbers name what is wrong."""

import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.keys import rsa_key
from workforce_local.config import FederationConfig
from workforce_local.identity.federation import Federation
from workforce_local.identity.grants import ASSERTION_TYPE, Granted, Refused, grant
from workforce_local.identity.tokens import Issuer, RevokedError

CLIENT = "00000000-0000-4000-8000-0000000000cc"
NOW = 1_800_000_000
ISSUER = "https://kubernetes.default.svc"


@pytest.fixture
def key():
    return rsa_key()


@pytest.fixture
def key_file(key, tmp_path):
    file = tmp_path / "keys.json"
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    file.write_text(json.dumps({"keys": [{**jwk, "kid": "one", "alg": "RS256", "use": "sig"}]}))
    return file


@pytest.fixture
def federation(key_file):
    return Federation([FederationConfig(issuer=ISSUER, keys=key_file, subject="system:serviceaccount:a:*")], CLIENT)


def assertion(key, *, kid="one", **claims):
    body = {
        "iss": ISSUER, "sub": "system:serviceaccount:a:b", "aud": ["api://AzureADTokenExchange"], "exp": NOW + 60,
        **claims,
    }  # fmt: skip
    return jwt.encode(body, key, algorithm="RS256", headers={"kid": kid})


def test_a_signed_assertion_of_a_known_subject_is_accepted(federation, key):
    assert federation.check(assertion(key), CLIENT, NOW) is None


@pytest.mark.parametrize(
    ("claims", "number"),
    [
        ({"iss": "https://other"}, 700211),
        ({"sub": "system:serviceaccount:b:b"}, 700213),
        ({"aud": "https://kubernetes"}, 700212),
        ({"exp": NOW - 1}, 700024),
        ({"nbf": NOW + 3600}, 700024),
        ({"kid": "two"}, 700027),
    ],
)
def test_what_no_credential_names_is_refused_by_its_number(federation, key, claims, number):
    refused = federation.check(assertion(key, **claims), CLIENT, NOW)
    assert isinstance(refused, Refused)
    assert refused.number == number


def test_a_credential_is_for_its_own_application_only(federation, key):
    other = "00000000-0000-4000-8000-00000000beef"
    refused = federation.check(assertion(key), other, NOW)
    assert isinstance(refused, Refused)
    assert refused.number == 700211


def test_another_key_s_signature_is_refused(federation):
    stranger = rsa_key(1)
    refused = federation.check(assertion(stranger), CLIENT, NOW)
    assert isinstance(refused, Refused)
    assert refused.number == 700027


@pytest.mark.parametrize("private", [True, False])
def test_keys_may_be_pem(key, tmp_path, private):
    file = tmp_path / "key.pem"
    if private:
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    else:
        pem, info = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        file.write_bytes(key.public_key().public_bytes(pem, info))
    federation = Federation([FederationConfig(issuer=ISSUER, keys=file)], CLIENT)
    assert federation.check(assertion(key), CLIENT, NOW) is None


@pytest.mark.parametrize("content", [None, "nonsense", "{}"])
def test_keys_that_cannot_be_read_are_an_unreachable_issuer(key, tmp_path, content):
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    refused = Federation([FederationConfig(issuer=ISSUER, keys=file)], CLIENT).check(assertion(key), CLIENT, NOW)
    assert isinstance(refused, Refused)
    assert (refused.number, str(file) in refused.description) == (50166, True)


def test_keys_that_were_replaced_are_read_again(federation, key, key_file):
    assert federation.check(assertion(key), CLIENT, NOW) is None
    fresh = rsa_key(1)
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(fresh.public_key()))
    key_file.write_text(json.dumps({"keys": [{**jwk, "kid": "second", "alg": "RS256"}]}))
    assert federation.check(assertion(fresh, kid="second"), CLIENT, NOW) is None
    assert federation.check(assertion(key), CLIENT, NOW) is not None


def ask(**options):
    form = {
        "grant_type": "client_credentials", "client_id": CLIENT, "scope": "https://a/.default",
        "client_assertion": "x", "client_assertion_type": ASSERTION_TYPE,
    }  # fmt: skip
    return grant(form, {}, NOW, **options)


def test_the_token_endpoint_asks_the_federation():
    assert ask(assertions=lambda *_: None) == Granted(CLIENT, "https://a")


def test_a_disabled_application_is_given_nothing():
    refused = ask(assertions=lambda *_: None, disabled={CLIENT})
    assert isinstance(refused, Refused)
    assert refused.number == 7000112


def test_a_revocation_ends_older_tokens_and_no_newer_ones(key):
    now = float(NOW)
    issuer = Issuer(key, "tenant", clock=lambda: now)
    before = issuer.mint("https://a", CLIENT)
    issuer.verify(before.value, "https://a")
    now += 0.5
    issuer.revoke(CLIENT)
    now += 0.1
    with pytest.raises(RevokedError) as caught:
        issuer.verify(before.value, "https://a")
    assert caught.value.claims
    issuer.verify(issuer.mint("https://a", CLIENT).value, "https://a")
    issuer.verify(issuer.mint("https://a", "00000000-0000-4000-8000-00000000beef").value, "https://a")


def test_the_lifetime_of_tokens_can_be_short(key):
    issuer = Issuer(key, "tenant", clock=lambda: NOW, lifetime=5)
    assert issuer.mint("https://a", CLIENT).expires_on == NOW + 5
