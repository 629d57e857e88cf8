"""A label of an environment is looked up once per template and region, and remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support import workforces
from tests.support.planning import desired, entry, hires, jobs, ledger, observed
from workforce_operator.domain.actions import Note
from workforce_operator.domain.ledger import Pin
from workforce_operator.domain.pins import pinned, to_look_up, with_versions
from workforce_operator.domain.plan import plan
from workforce_operator.domain.template import region_hash

LATEST = {"type": "Registered", "name": "sim", "label": "latest"}
VERSION_7 = {"type": "Registered", "name": "sim", "version": "7"}


def labelled(environment=LATEST, *, command="workforce-agent run", regions=("one",), overrides=None, replicas=2):
    listed = [workforces.region(name) for name in regions]
    if overrides:
        listed[-1]["overrides"] = overrides
    return desired(
        replicas=replicas, regions=listed, template=workforces.template(environment=environment, command=command)
    )


def planned(wanted, known=None):
    empty = {each.name: jobs() for each in wanted.spec.regions}
    return plan(wanted, observed(**empty), known or ledger(**{name: entry(0, name) for name in empty}))


def pin(wanted, version, region="one"):
    return Pin(region_hash(wanted.spec, region), version)


def test_a_label_is_looked_up_before_the_first_hire_in_each_region_that_hires():
    wanted = labelled(regions=("one", "two"), replicas=4)
    assert to_look_up(wanted, planned(wanted)) == {"one": "sim", "two": "sim"}


def test_nothing_is_looked_up_for_a_plan_that_hires_nobody():
    wanted = labelled(replicas=0)
    assert hires(planned(wanted)) == []
    assert to_look_up(wanted, planned(wanted)) == {}


@pytest.mark.parametrize("environment", [VERSION_7, {"type": "Image", "image": "registry.test/sim:7"}])
def test_an_environment_without_a_label_needs_no_looking_up(environment):
    wanted = labelled(environment)
    assert to_look_up(wanted, planned(wanted)) == {}
    assert pinned(wanted, ledger(one=entry(0)), "one") == wanted.spec.template


def test_only_the_region_whose_override_has_a_label_is_looked_up():
    wanted = labelled(VERSION_7, regions=("one", "two"), overrides={"environment": LATEST}, replicas=4)
    assert to_look_up(wanted, planned(wanted)) == {"two": "sim"}


def test_what_was_looked_up_is_in_the_ledger_before_the_hires_and_people_hear_of_it():
    wanted = labelled()
    before = planned(wanted)
    after = with_versions(wanted, before, {"one": "12"})
    assert after.ledger.regions["one"].environment == pin(wanted, "12")
    assert after.actions == before.actions
    assert after.notes[-1] == Note("EnvironmentResolved", "one: sim@latest is version 12")
    assert before.ledger.regions["one"].environment is None


def test_a_plan_for_which_nothing_was_looked_up_stays_as_it_is():
    wanted = labelled()
    before = planned(wanted)
    assert with_versions(wanted, before, {}) is before


def test_a_remembered_version_is_not_looked_up_again_and_takes_the_place_of_the_label():
    wanted = labelled()
    known = ledger(one=entry(0, environment=pin(wanted, "12")))
    assert to_look_up(wanted, planned(wanted, known)) == {}
    environment = pinned(wanted, known, "one").environment
    assert (environment.name, environment.version, environment.label) == ("sim", "12", None)


def test_a_changed_template_looks_its_label_up_again():
    old, new = labelled(), labelled(command="workforce-agent run --heartbeat")
    known = ledger(one=entry(0, environment=pin(old, "12")))
    assert to_look_up(new, planned(new, known)) == {"one": "sim"}
    assert pinned(new, known, "one").environment.label == "latest"


def test_a_region_of_which_nothing_is_remembered_has_the_label_as_it_is_written():
    wanted = labelled()
    known = replace(ledger(one=entry(0)), regions={})
    assert pinned(wanted, known, "one").environment.label == "latest"
