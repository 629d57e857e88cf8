"""Scenarios as files, and what is said about the mistakes in them."""

import re
from pathlib import Path
from typing import get_args

import pytest

from tests.support.tables import table
from workforce_local.chaos import faults
from workforce_local.chaos.places import Places
from workforce_local.chaos.scenario import ScenarioError, dump, kinds, load, read
from workforce_local.config import LocalConfig


def said(document):
    with pytest.raises(ScenarioError) as caught:
        read(document)
    return str(caught.value)


def test_a_scenario_is_read_from_yaml_and_from_json(tmp_path):
    yaml = tmp_path / "a.yaml"
    yaml.write_text("seed: 4\nfaults:\n- kind: throttle\n  where: {service: arm, method: PUT}\n  share: 0.5\n")
    json = tmp_path / "a.json"
    json.write_text('{"seed":4,"faults":[{"kind":"throttle","where":{"service":["arm"],"method":"PUT"},"share":0.5}]}')
    assert load(yaml) == load(json)
    assert load(yaml).faults[0].where.service == ("arm",)


def test_a_single_fault_is_a_scenario():
    scenario = read({"kind": "drop", "seed": 3})
    assert scenario.seed == 3
    assert [fault.kind for fault in scenario.faults] == ["drop"]


def test_what_is_written_can_be_read_again():
    scenario = read({"seed": 1, "faults": [{"kind": kind} for kind in kinds()]})
    assert read(dump(scenario)) == scenario


def test_an_unknown_kind_is_named_with_those_that_there_are():
    text = said({"faults": [{"kind": "earthquake"}]})
    assert "faults[0]" in text
    assert "earthquake" in text
    assert "throttle" in text


def test_a_wrong_field_is_named_with_its_place():
    text = said({"faults": [{"kind": "drop"}, {"kind": "throttle", "share": 2, "retries": 1}]})
    assert "faults[1].share: " in text
    assert "faults[1].retries: " in text


@table(
    ("kind", "service"),
    [("staleList", "queue"), ("truncatedList", "identity"), ("staleList", "serviceBus")],
)
def test_a_fault_that_a_service_cannot_have_is_refused(kind, service):
    assert f"{kind} does not exist for {service}" in said({"kind": kind, "where": {"service": service}})


@table(("kind", "method"), [("throttle", "IN"), ("latency", "SEND"), ("revoked", "GET")])
def test_a_fault_that_would_never_strike_service_bus_is_refused(kind, method):
    assert "where.method" in said({"kind": kind, "where": {"service": "serviceBus", "method": method}})


def test_a_mistake_in_a_fault_is_the_only_one_that_is_told():
    assert said({"faults": [{"kind": "drop", "share": 7}]}).count("\n") == 0


def test_two_faults_of_one_name_are_refused():
    assert "two faults have the name a" in said({"faults": [{"kind": "drop", "name": "a"}] * 2})


def test_an_empty_scenario_is_refused():
    assert said({"faults": []}) == "the scenario: faults: give at least one"
    assert "the scenario" in said([])


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ScenarioError, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("faults: [")
    with pytest.raises(ScenarioError, match="cannot be read as JSON or YAML"):
        load(broken)


def test_the_scenario_of_the_documentation_can_be_set(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "local-cloud.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "storm.yaml"
    file.write_text(block, encoding="utf-8")
    scenario = load(file)
    assert len(scenario.faults) == 7
    Places(LocalConfig()).check(scenario)


def test_the_page_names_every_service():
    page = (Path(__file__).parents[3] / "docs" / "local-cloud.md").read_text(encoding="utf-8")
    assert [service for service in get_args(faults.Service) if f"`{service}`" not in page] == []


def test_every_kind_says_what_it_is():
    assert all(model.__doc__ for model in kinds().values())
