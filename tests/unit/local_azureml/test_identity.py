"""Tokens and grants, on a clock of the test's own, and certificates."""

from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from cryptography import x509

from tests.support.keys import rsa_key
from tests.support.tables import table
from workforce_local.identity import Issuer, TokenError, audience_of
from workforce_local.identity.certificates import CertificateAuthority
from workforce_local.identity.grants import ASSERTION_TYPE, EXCHANGE_AUDIENCE, Granted, Refused, grant

TENANT = "00000000-0000-4000-8000-0000000000aa"
CLIENT = "00000000-0000-4000-8000-0000000000cc"
ARM = "https://management.azure.com"
NOW = 1_800_000_000


class Clock:
    def __init__(self):
        self.now = float(NOW)

    def __call__(self):
        return self.now


@pytest.fixture
def key():
    return rsa_key()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def issuer(key, clock):
    return Issuer(key, TENANT, clock=clock)


def test_a_minted_token_is_accepted_for_its_audience(issuer):
    token = issuer.mint(ARM, CLIENT)
    principal = issuer.verify(token.value, ARM)
    assert (principal.client_id, principal.expires_on) == (CLIENT, NOW + 3600)


@pytest.mark.parametrize("asked", [f"{ARM}/", f"{ARM}//.default", f"{ARM}/.default", ARM])
def test_an_audience_is_the_same_with_and_without_slashes(issuer, asked):
    assert audience_of(asked) == ARM
    issuer.verify(issuer.mint(audience_of(asked), CLIENT).value, asked)


def test_other_services_may_just_ask_whether_a_token_is_good(issuer):
    token = issuer.mint(ARM, CLIENT).value
    assert issuer.accepts(token, ARM)
    assert not issuer.accepts(token, "https://storage.azure.com")
    assert not issuer.accepts("nonsense", ARM)


def test_a_token_for_another_audience_is_refused(issuer):
    with pytest.raises(TokenError, match="wrong audience") as caught:
        issuer.verify(issuer.mint("https://storage.azure.com", CLIENT).value, ARM)
    assert caught.value.code == "InvalidAuthenticationTokenAudience"


def test_an_expired_token_is_refused(issuer, clock):
    token = issuer.mint(ARM, CLIENT)
    clock.now += 3600
    with pytest.raises(TokenError, match="expired") as caught:
        issuer.verify(token.value, ARM)
    assert caught.value.code == "ExpiredAuthenticationToken"


def test_a_token_of_the_future_is_refused(issuer, clock):
    token = issuer.mint(ARM, CLIENT)
    clock.now -= 60
    with pytest.raises(TokenError, match="not valid yet"):
        issuer.verify(token.value, ARM)


def test_a_token_of_another_key_is_refused(issuer, clock):
    other = Issuer(rsa_key(1), TENANT, clock=clock)
    with pytest.raises(TokenError, match=r"[Ss]ignature"):
        issuer.verify(other.mint(ARM, CLIENT).value, ARM)


def test_an_unsigned_token_is_refused(issuer):
    forged = jwt.encode({"aud": ARM, "iss": issuer.issuer, "exp": NOW + 9, "nbf": NOW}, "", algorithm="none")
    with pytest.raises(TokenError) as caught:
        issuer.verify(forged, ARM)
    assert caught.value.code == "InvalidAuthenticationToken"


def test_a_token_of_another_tenant_is_refused(issuer, key, clock):
    with pytest.raises(TokenError, match="issuer"):
        issuer.verify(Issuer(key, "other", clock=clock).mint(ARM, CLIENT).value, ARM)


def test_tokens_have_the_claims_that_azurite_looks_at(issuer):
    claims = jwt.decode(issuer.mint(ARM, CLIENT).value, options={"verify_signature": False})
    assert claims["iss"] == f"https://sts.windows.net/{TENANT}/"
    assert {"nbf", "exp", "iat", "aud", "tid", "oid"} <= set(claims)


def test_the_published_key_verifies_a_token(issuer, clock):
    keys = jwt.PyJWKSet.from_dict(issuer.keys())
    token = issuer.mint(ARM, CLIENT).value
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(
        token,
        keys[header["kid"]],
        algorithms=["RS256"],
        audience=ARM,
        options={"verify_nbf": False, "verify_iat": False},
    )
    assert claims["appid"] == CLIENT


def test_the_key_is_kept_over_restarts(tmp_path):
    first = Issuer.load(tmp_path / "key.pem", TENANT)
    again = Issuer.load(tmp_path / "key.pem", TENANT)
    again.verify(first.mint(ARM, CLIENT).value, ARM)
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0


def form(**changes):
    fields = {
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "client_secret": "secret",
        "scope": f"{ARM}/.default openid profile offline_access",
    }
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}


def ask(**changes):
    return grant(form(**changes), {CLIENT: "secret"}, NOW)


def test_a_client_with_its_secret_gets_a_token():
    assert ask() == Granted(CLIENT, ARM)


def test_a_version_1_resource_is_an_audience():
    assert ask(scope=None, resource=f"{ARM}/") == Granted(CLIENT, ARM)


@table(
    ("changes", "number"),
    [
        ({"grant_type": "password"}, 70003),
        ({"client_id": "nobody"}, 700016),
        ({"client_id": "00000000-0000-4000-8000-00000000beef"}, 700016),
        ({"client_secret": "wrong"}, 7000215),
        ({"client_secret": None}, 7000218),
        ({"scope": "openid"}, 1002012),
        ({"scope": "User.Read"}, 1002012),
        ({"client_assertion": "x", "client_assertion_type": "y"}, 900144),
        ({"client_assertion": "not.a.jwt", "client_assertion_type": ASSERTION_TYPE}, 50027),
    ],
)
def test_a_wrong_request_is_refused_with_its_number(changes, number):
    refused = ask(**changes)
    assert isinstance(refused, Refused)
    assert refused.number == number


def test_a_refusal_never_repeats_the_secret():
    refused = ask(client_secret="hunter2")
    assert isinstance(refused, Refused)
    assert "hunter2" not in refused.description


def assertion(**claims):
    body = {"sub": "system:serviceaccount:a:b", "aud": [EXCHANGE_AUDIENCE], "exp": NOW + 60, **claims}
    token = jwt.encode(body, "k" * 32, algorithm="HS256")
    return {"client_assertion": token, "client_assertion_type": ASSERTION_TYPE, "client_secret": None}


def test_a_workload_identity_gets_a_token_for_its_assertion():
    assert ask(**assertion()) == Granted(CLIENT, ARM)


@pytest.mark.parametrize(("claims", "number"), [({"exp": NOW - 1}, 700024), ({"aud": "https://kubernetes"}, 700212)])
def test_a_stale_or_foreign_assertion_is_refused(claims, number):
    refused = ask(**assertion(**claims))
    assert isinstance(refused, Refused)
    assert refused.number == number


def test_those_that_start_at_once_in_a_new_folder_make_one_authority(tmp_path):
    """Storage's certificate is made by the supervisor while Azure starts: clients trust one file for both."""

    def certificate(number):
        file = tmp_path / f"{number}.pem"
        CertificateAuthority(tmp_path / "azure").write_server_files(file, tmp_path / f"{number}.key")
        return x509.load_pem_x509_certificate(file.read_bytes())

    with ThreadPoolExecutor(8) as pool:
        certificates = list(pool.map(certificate, range(8)))
    authority = x509.load_pem_x509_certificate((tmp_path / "azure" / "ca.pem").read_bytes())
    for one in certificates:
        one.verify_directly_issued_by(authority)
