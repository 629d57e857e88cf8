"""What a job PUT means: AzureML's rules for names, and JobPropertyImmutable."""

import pytest

from tests.support.tables import table
from workforce_local.azureml.errors import ArmError
from workforce_local.azureml.submission import Create, Existing, Immutable, Update, check, decide

BODY = {
    "jobType": "Command",
    "command": "true",
    "computeId": "/c",
    "environmentId": "/e",
    "displayName": "d",
    "tags": {"a": "1"},
    "properties": {"workforce-owner": "x/y/z"},
    "resources": {"instanceCount": 1},
}
EXPANDED = {
    **BODY,
    "status": "Running",
    "properties": {"workforce-owner": "x/y/z", "_azureml.ClusterName": "c"},
    "resources": {"instanceCount": 1, "shmSize": "2g"},
    "outputs": {"default": {}},
}
EXISTING = Existing(BODY, EXPANDED)


def test_a_free_name_is_a_new_job():
    assert decide(None, BODY, "replay200") == Create()


def test_an_identical_replay_is_an_update_that_changes_nothing():
    decision = decide(EXISTING, BODY, "replay200")
    assert isinstance(decision, Update)
    assert all(EXPANDED[name] == value for name, value in decision.changes.items())


def test_an_identical_replay_is_refused_in_the_other_mode():
    assert decide(EXISTING, BODY, "replay400") == Immutable("InputBindings")


def test_the_expanded_job_sent_back_is_no_change():
    assert isinstance(decide(EXISTING, EXPANDED, "replay200"), Update)


@pytest.mark.parametrize("mode", ["replay200", "replay400"])
@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("command", "false", "Command"),
        ("inputs", {"x": {}}, "InputBindings"),
        ("environmentVariables", {"A": "b"}, "EnvironmentVariables"),
        ("properties", {"workforce-owner": "somebody/else/s"}, "Properties"),
    ],
)
def test_what_cannot_change_is_refused_by_name(mode, field, value, named):
    assert decide(EXISTING, {**BODY, field: value}, mode) == Immutable(named)


def test_tags_and_properties_are_merged():
    decision = decide(EXISTING, {**BODY, "tags": {"b": "2"}, "properties": {"new": "v"}}, "replay200")
    assert isinstance(decision, Update)
    assert decision.changes["tags"] == {"a": "1", "b": "2"}
    assert decision.changes["properties"] == {**EXPANDED["properties"], "new": "v"}


def test_a_job_can_be_archived_and_renamed_by_a_put():
    decision = decide(EXISTING, {**BODY, "isArchived": True, "displayName": "other"}, "replay200")
    assert isinstance(decision, Update)
    assert (decision.changes["isArchived"], decision.changes["displayName"]) == (True, "other")


def test_the_refusal_is_worded_as_the_service_words_it():
    error = Immutable("InputBindings").error()
    assert (error.status, error.code) == (400, "UserError")
    info = {entry["type"]: entry["info"]["value"] for entry in error.body()["error"]["additionalInfo"]}
    assert info["InnerError"] == {
        "code": "Immutable",
        "innerError": {"code": "JobPropertyImmutable", "innerError": None},
    }
    assert info["MessageParameters"] == {"property": " InputBindings"}
    assert "A job with this name already exists." in str(error)


@table("name", ["a", "A-1_b", "x" * 255])
def test_good_names_are_taken(name):
    check(name, BODY)


@table("name", ["-a", "_a", "a b", "a.b", "ä", "x" * 256, "a/b"])
def test_bad_names_are_refused(name):
    with pytest.raises(ArmError, match="not valid"):
        check(name, BODY)


@table(
    ("change", "words"),
    [
        ({"jobType": "Sweep"}, "only Command"),
        ({"command": " "}, "command field is required"),
        ({"computeId": None}, "computeId field is required"),
        ({"environmentId": ""}, "environmentId field is required"),
        ({"experimentName": "-x"}, "Experiment name"),
        ({"tags": {str(number): "" for number in range(51)}}, "at most 50"),
        ({"tags": {"k" * 101: ""}}, "too long"),
        ({"properties": {"k": "v" * 1001}}, "too long"),
        ({"tags": {"k": 1}}, "object of strings"),
        ({"environmentVariables": ["A=b"]}, "object of strings"),
        ({"limits": {"timeout": "one hour"}}, "not an ISO 8601 duration"),
        ({"command": "cat ${{inputs.data}}"}, "inputs.data"),
        *[
            ({field: wrong}, f"^{field} must be an object")
            for field in ("inputs", "outputs", "limits", "resources", "identity", "queueSettings")
            for wrong in (5, "text", ["x"], True)
        ],
        ({"inputs": {"data": "text"}}, "^inputs.data must be an object"),
        ({"inputs": {"data": None}}, "^inputs.data must be an object"),
        ({"inputs": {"data": {"uri": 5}}}, "^inputs.data.uri must be a string"),
        ({"outputs": {"out": {"uri": [1]}}}, "^outputs.out.uri must be a string"),
        ({"identity": {"clientId": 5}}, "^identity.clientId must be a string"),
        ({"outputs": {"out": [1]}}, "^outputs.out must be an object"),
        ({"resources": {"properties": "text"}}, "^resources.properties must be an object"),
        *[
            ({"resources": {"instanceCount": wrong}}, "^resources.instanceCount must be a whole number")
            for wrong in ("x", "1", 1.5, [1], True, {})
        ],
    ],
)
def test_a_wrong_field_is_refused_with_its_name(change, words):
    with pytest.raises(ArmError, match=words):
        check("job", {**BODY, **change})


def test_long_environment_variables_are_fine():
    check("job", {**BODY, "environmentVariables": {"A": "v" * 5000}})
