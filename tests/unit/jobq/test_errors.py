"""Errors of the SDKs in one line."""

from jobq.errors import first_line
from jobq.names import CONNECTION_STRING_VARIABLE as VARIABLE
from tests.support.tables import table

NOBODY = """DefaultAzureCredential failed to retrieve a token from the included credentials.
Attempted credentials:
\tEnvironmentCredential: EnvironmentCredential authentication unavailable. Environment variables are not configured.
Visit https://aka.ms/azsdk/python/identity/environmentcredential/troubleshoot to troubleshoot this issue.
\tAzureCliCredential: Azure CLI not found on path
To mitigate this issue, please refer to the troubleshooting guidelines."""
WRONG = """DefaultAzureCredential failed to retrieve a token from the included credentials.
Attempted credentials:
\tEnvironmentCredential: AADSTS7000215: Invalid client secret provided.
Content: {}"""


LAST = "no credential works, the last one tried is "


@table(
    ("text", "line"),
    [
        (NOBODY, f"{LAST}AzureCliCredential: Azure CLI not found on path; log in with `az login`, or set {VARIABLE}"),
        (WRONG, f"{LAST}EnvironmentCredential: AADSTS7000215: Invalid client secret provided."),
        ("one\ntwo", "one"),
        ("", "ValueError"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(text, line):
    assert first_line(ValueError(text)) == line
