"""The studio's index, rights, regional buckets, paces and scenario files."""

import json

import pytest

from tests.support.tables import table
from workforce_local.azureml.entities import MAX_RESULTS, Question, answer, studio_status
from workforce_local.azureml.errors import ArmError, authorization_failed, nginx_unavailable
from workforce_local.azureml.pace import Pace
from workforce_local.azureml.permissions import Deed, Denial, deed
from workforce_local.azureml.throttle import TokenBuckets
from workforce_local.config import ComputeTimes, ConfigError, LocalConfig

WS = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"


def entity(name, status="Running", experiment="exp", created=0):
    return {
        "type": "runs",
        "annotations": {"status": status, "archived": False, "displayName": name},
        "properties": {"experimentName": experiment, "userProperties": {"azureml.VC": "vc"}, "created": created},
    }


def ask(*entities, **body):
    found = answer(entities, Question.read(body))
    return [one["annotations"]["displayName"] for one in found["value"]], found


def where(field, *values, operator="eq"):
    return {"field": field, "operator": operator, "values": list(values)}


def test_the_index_filters_as_other_schedulers_ask_it_to():
    """The index of ml.azure.com: type, archived, experiment and status; booleans come as words."""
    entities = [entity("a"), entity("b", "Queued"), entity("c", "Completed"), entity("d", experiment="other")]
    filters = [
        where("type", "runs"), where("annotations/archived", "false"), where("properties/experimentName", "exp"),
        where("annotations/status", "Queued", "Running"),
    ]  # fmt: skip
    assert ask(*entities, filters=filters)[0] == ["a", "b"]
    assert ask(*entities, filters=[where("annotations/status", "Running", operator="ne")])[0] == ["b", "c"]
    vc = [where("properties/userProperties/azureml.VC", "vc"), where("properties/experimentName", "other")]
    assert ask(*entities, filters=vc)[0] == ["d"]


def test_the_index_gives_pages_in_the_order_asked_for_and_counts():
    """The index of ml.azure.com: at most 100 a page, a continuation token,
    and the number of all results if it is asked for.
    """
    entities = [entity(f"{number:03}", created=f"{number:03}") for number in range(250)]
    order = [{"field": "properties/created", "direction": "Desc"}]
    token, seen = None, []
    while True:
        names, found = ask(*entities, order=order, continuationToken=token, includeTotalResultCount=True)
        seen += names
        assert found["totalCount"] == 250
        if (token := found["continuationToken"]) is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 250
    assert ask(*entities, pageSize=0, includeTotalResultCount=True)[1]["totalCount"] == 250


def test_the_index_gives_nothing_past_its_limit():
    """The index of ml.azure.com: no paging past 50,000 results."""
    entities = [entity("x")] * (MAX_RESULTS + 5)
    question = Question((), (), 100, MAX_RESULTS - 100, count=False)
    found = answer(entities, question)
    assert (len(found["value"]), found["continuationToken"]) == (100, None)


@table(
    "body",
    [
        {"pageSize": 101}, {"pageSize": "many"}, {"continuationToken": "?"}, {"filters": [{"field": "x"}]},
        {"filters": ["x"]}, {"filters": [where("x", "1", operator="like")]},
    ],
)  # fmt: skip
def test_the_index_refuses_what_it_does_not_understand(body):
    with pytest.raises(ArmError):
        Question.read(body)


def test_the_studio_has_words_of_its_own():
    """The index of ml.azure.com: "Not started", "Cancel requested"."""
    assert [studio_status(word) for word in ("NotStarted", "CancelRequested", "Queued")] == [
        "Not started", "Cancel requested", "Queued",
    ]  # fmt: skip


@table(
    ("method", "path", "action", "scope"),
    [
        ("PUT", "/jobs/j", "workspaces/jobs/write", "/jobs/j"),
        ("GET", "/jobs", "workspaces/jobs/read", ""),
        ("POST", "/jobs/j/cancel", "workspaces/jobs/cancel/action", "/jobs/j"),
        ("DELETE", "/jobs/j", "workspaces/jobs/delete", "/jobs/j"),
    ],
)
def test_a_request_is_an_action_on_a_scope(method, path, action, scope):
    assert deed(method, WS + path) == Deed(f"Microsoft.MachineLearningServices/{action}", WS + scope)


def test_a_denial_holds_below_its_scope_and_for_whom_it_is():
    wanted = deed("PUT", WS + "/jobs/j")
    assert Denial("*/jobs/write", WS.upper()).forbids("me", wanted)
    assert not Denial("*/jobs/write", WS + "2").forbids("me", wanted)
    assert not Denial("*/jobs/write", WS, "you").forbids("me", wanted)
    assert not Denial("*/read").forbids("me", wanted)
    assert Denial("*").forbids("me", wanted)


def test_errors_say_what_real_ones_say():
    """As ai4s-jobq met it: raw nginx pages under load; ARM's 403 names principal, action and scope."""
    assert "nginx" in str(nginx_unavailable().html)
    body = authorization_failed("me", "a/write", "/s").body()["error"]
    assert body["code"] == "AuthorizationFailed"
    assert all(word in body["message"] for word in ("'me'", "'a/write'", "'/s'"))


def test_each_region_has_buckets_of_its_own_and_all_principals_share_a_larger_one():
    """ARM throttling: per subscription, principal and region; 15 times that for the whole subscription."""
    buckets = TokenBuckets(lambda: 0.0)
    for _ in range(200):
        assert buckets.take("p", "s", "PUT", "uksouth").retry_after is None
    assert buckets.take("p", "s", "PUT", "UKSouth").retry_after == 1
    assert buckets.take("p", "s", "PUT", "westeurope").retry_after is None
    for principal in range(14):
        for _ in range(200):
            assert buckets.take(f"p{principal}", "s", "PUT", "uksouth").retry_after is None
    over = buckets.take("fresh", "s", "PUT", "uksouth")
    assert over.retry_after == 1
    assert over.headers == {
        "x-ms-ratelimit-remaining-subscription-writes": "200",
        "x-ms-ratelimit-remaining-subscription-global-writes": "0",
    }


def load(tmp_path, **content):
    file = tmp_path / "local.json"
    file.write_text(json.dumps(content))
    return LocalConfig.load(file)


def test_a_scenario_gives_computes_their_own_times_the_same_for_the_same_seed(tmp_path):
    scenario = {
        "seed": 7,
        "times": [{"preparing": 3}, {"workspace": "ws-UK*", "preparing": [5, 9], "allocation": 2}],
    }
    config = load(tmp_path, scenario=scenario)
    pace, other = (Pace.of(config, f"ws-{region}", "cluster") for region in ("uksouth", "westeurope"))
    assert (other.seconds("preparing", "j"), other.seconds("allocation")) == (3, config.timing.node_start_seconds)
    assert 5 <= pace.seconds("preparing", "j") <= 9
    assert pace.seconds("preparing", "j") == Pace.of(config, "ws-uksouth", "cluster").seconds("preparing", "j")
    assert pace.seconds("preparing", "j") != pace.seconds("preparing", "k")
    pace.change({"preparing": (1, 1)})
    assert pace.seconds("preparing", "j") == 1


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ({"times": [{"preparing": [9, 5]}]}, "scenario.times.0.preparing.*lowest first"),
        ({"times": [{"preparing": "soon"}]}, "one number or as"),
        ({"times": [{"queued": 1}]}, "scenario.times.0.queued"),
        ({"times": [{"compute": "nowhere"}]}, "scenario.times.0: no compute matches"),
        ({"preemption": [{"every": 0}]}, "every: must be more than 0"),
        ({"preemption": [{"every": 9, "withdrawn": 0.5, "noticeSeconds": 5}]}, "withdrawAfterSeconds must be less"),
        ({"shared": [{"compute": "x", "atSeconds": 1, "nodes": 1}]}, "scenario.shared.0"),
        ({"quota": {"mars": 1}}, "no workspace is in the region mars"),
    ],
)
def test_a_wrong_scenario_is_refused_with_the_field_s_name(tmp_path, scenario, words):
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, scenario=scenario)


def test_times_are_one_number_or_two():
    assert ComputeTimes(running=3).running == (3, 3)
    assert ComputeTimes(running=(1, 2)).running == (1, 2)
