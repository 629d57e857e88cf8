"""Reading and writing AzureML's job documents."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.support.tables import table
from workforce_operator.adapters.azureml.job_json import MOST_CODES, body_of, job_of, parse_time, spread_time_limit
from workforce_operator.api.status import RegionCoordinates
from workforce_operator.domain.observed import Phase
from workforce_operator.ports.azure import JobBody, Workplace

HASH = "0123456789"
PLACE = Workplace(
    region="uksouth",
    owner="inst1234/chem/md",
    installation_id="inst1234",
    hash10=HASH,
    prefix=f"md-uksouth-{HASH}",
    coordinates=RegionCoordinates(
        subscription_id="s", resource_group="g", workspace="w", compute="c", experiment="e", topic="t"
    ),
)


def document(name=f"md-uksouth-{HASH}-7", owner="inst1234/chem/md", **properties):
    own = {"workforce-owner": owner, "workforce-template": "v1:ab", "StartTimeUtc": "2026-01-02 03:04:05"}
    return {
        "name": name,
        "properties": {"status": "Running", "properties": own, **properties},
        "systemData": {"createdAt": "2026-01-02T03:04:00.8045905+00:00"},
    }


def test_a_job_of_ours_is_read_with_its_times():
    job = job_of(document(), PLACE)
    assert job is not None
    assert (job.sequence, job.phase, job.template_hash) == (7, Phase.RUNNING, "v1:ab")
    assert job.started == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert job.created == datetime(2026, 1, 2, 3, 4, 0, 804590, tzinfo=UTC)
    assert job.ended is None


def test_an_error_is_read_with_all_its_codes_from_the_outermost_to_the_innermost():
    inner = {"type": "InnerError", "info": {"value": {"code": "BadArgument", "innerError": {"code": "ImagePull"}}}}
    job = job_of(document(error={"code": "UserError", "message": "no image", "additionalInfo": [inner]}), PLACE)
    assert job is not None
    assert (job.error, job.error_codes) == ("no image", ("UserError", "BadArgument", "ImagePull"))


@table("error", [None, "text", [], {"code": 7}, {"details": "none"}, {"additionalInfo": [None, 3]}])
def test_an_error_without_codes_is_no_error_of_ours(error):
    job = job_of(document(error=error), PLACE)
    assert job is not None
    assert job.error_codes == ()


def test_an_endless_error_is_read_up_to_a_bound():
    error = {}
    for _ in range(100):
        error = {"code": "Outer", "innerError": error}
    job = job_of(document(error=error), PLACE)
    assert job is not None
    assert len(job.error_codes) == MOST_CODES


@table(
    "foreign",
    [
        document(owner="inst1234/chem/other"),
        document(owner="other123/chem/md"),
        document(name=f"other-uksouth-{HASH}-7"),
        document(name="md-uksouth-ffffffffff-7"),
        document(name="somebody_else"),
        document(name=f"md-uksouth-{HASH}-07"),
        document(properties={}),
        document(properties=None),
        {"name": f"md-uksouth-{HASH}-7"},
        {},
    ],
)
def test_a_job_that_is_not_ours_is_never_read_as_ours(foreign):
    assert job_of(foreign, PLACE) is None


def test_a_job_without_a_status_counts_as_running():
    job = job_of(document(status=None), PLACE)
    assert job is not None
    assert job.phase is Phase.RUNNING


@table("text", [None, "", "soon", 7, {}])
def test_a_time_that_cannot_be_read_is_not_told(text):
    assert parse_time(text) is None


def test_a_hire_s_body_differs_from_the_template_s_only_where_it_must():
    resolved = {
        "jobType": "Command",
        "command": "x",
        "displayName": "template",
        "properties": {"kept": "1"},
        "environmentVariables": {"A": "b", "JOBQ_TIME_LIMIT": "1000s"},
    }
    body = body_of(PLACE, f"md-uksouth-{HASH}-300", 300, JobBody(resolved, "v1:ab"))["properties"]
    assert body["displayName"] == f"md-uksouth-{HASH}-300"
    assert body["properties"] == {
        "kept": "1",
        "workforce-owner": "inst1234/chem/md",
        "workforce-installation": "inst1234",
        "workforce-cohort": f"{HASH}-1",
        "workforce-template": "v1:ab",
    }
    assert body["environmentVariables"]["A"] == "b"
    assert {key: body[key] for key in ("jobType", "command")} == {"jobType": "Command", "command": "x"}
    assert resolved["environmentVariables"] == {"A": "b", "JOBQ_TIME_LIMIT": "1000s"}, "the template is not touched"


def test_time_limits_are_spread_and_never_longer_than_allowed():
    limits = [int(spread_time_limit("100000s", sequence)[:-1]) for sequence in range(200)]
    assert all(90_000 <= limit <= 100_000 for limit in limits)
    assert len(set(limits)) > 150


def test_the_same_sequence_has_the_same_time_limit():
    assert spread_time_limit("5000s", 12) == spread_time_limit("5000s", 12)


def test_a_time_limit_in_another_form_is_left_alone():
    assert spread_time_limit("14d", 3) == "14d"
