"""A region's template: what the Workforce says, and what the region has otherwise."""

from __future__ import annotations

from dataclasses import replace

from jobq.cloud import PUBLIC_CLOUDS
from tests.support.planning import coordinates, desired, entry, job, jobs, ledger, observed
from tests.support.tables import table
from tests.support.workforces import IDENTITY, region, template
from workforce_operator.domain.job_environment import job_environment, secret_refs
from workforce_operator.domain.plan import plan
from workforce_operator.domain.template import region_template
from workforce_operator.domain.template_hash import template_hash

BASE = template(
    outputs={"blobs": {"path": "wasbs://a@x.blob.core.windows.net", "mode": "rw_mount"}, "own": {"type": "uri_file"}},
    environmentVariables=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
    resources={"instanceType": "D2", "properties": {"a": 1, "b": {"c": 1}}},
)
SECRET = {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
OVERRIDES = {
    "environment": {"type": "Registered", "name": "worker", "version": "3"},
    "identity": {"type": "Managed", "resourceId": IDENTITY, "clientId": "c1"},
    "environmentVariables": [{"name": "B", "value": "other"}, SECRET],
    "outputs": {"blobs": {"type": "uri_folder", "path": "wasbs://b@y.blob.core.windows.net", "mode": "upload"}},
    "resources": {"instanceCount": 1, "instanceType": "D4", "properties": {"b": 2, "d": 3}},
}


def wanted(**overrides):
    return desired(template=BASE, regions=[region("one"), region("two", overrides=overrides or OVERRIDES)])


def of(region, it=None):
    return region_template((it or wanted()).spec, region)


def digest(region, it=None):
    return template_hash(of(region, it), (it or wanted()).spec.queue)


def test_a_region_s_overrides_reach_its_jobs_and_no_others():
    body = of("two").model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert body["environment"] == OVERRIDES["environment"]
    assert body["identity"] == OVERRIDES["identity"]
    assert body["environmentVariables"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "other"}, SECRET]
    assert body["outputs"] == {"blobs": OVERRIDES["outputs"]["blobs"], "own": {"type": "uri_file"}}
    assert body["resources"] == {"instanceType": "D4", "properties": {"a": 1, "b": 2, "d": 3}}
    assert of("two").resources.instance_count == 1
    assert of("one") == wanted().spec.template


def test_what_a_region_does_not_override_stays():
    only = wanted(environmentVariables=[{"name": "A", "value": "9"}])
    before, after = only.spec.template, of("two", only)
    assert after.model_copy(update={"environment_variables": before.environment_variables}) == before
    assert [(each.name, each.value) for each in after.environment_variables] == [("A", "9"), ("B", "2")]
    assert of("two", wanted(resources={"properties": {"a": 5}})).resources.instance_type == "D2"


def test_an_overridden_variable_and_secret_are_what_the_job_finds():
    secrets = {("s", "k"): "hush"}
    assert [(ref.name, ref.key) for ref in secret_refs(of("two"))] == [("s", "k")]
    found = job_environment(wanted(), of("two"), coordinates("two"), cloud=PUBLIC_CLOUDS["AzureCloud"], secrets=secrets)
    assert {name: found[name] for name in ("A", "B", "C", "AZURE_CLIENT_ID")} == {
        "A": "1",
        "B": "other",
        "C": "hush",
        "AZURE_CLIENT_ID": "c1",
    }


def test_a_region_that_the_spec_has_no_more_has_the_common_template():
    assert of("gone") == wanted().spec.template


@table("field", OVERRIDES)
def test_every_override_changes_the_hash_of_its_region_only(field):
    plain = wanted(environmentVariables=[])
    changed = wanted(**{field: OVERRIDES[field]})
    assert digest("two", plain) == digest("one", plain) == digest("one", changed) != digest("two", changed)


def test_an_override_that_says_what_the_template_says_changes_no_hash():
    same = wanted(environment=BASE["environment"], environmentVariables=BASE["environmentVariables"][::-1])
    assert digest("two", same) == digest("one", same)


def test_failures_of_an_overridden_region_s_own_template_hold_its_replacements_back():
    it = wanted()
    failed = [
        replace(job(number, "Failed", region="two", started=5, ended=0.05), template_hash=digest("two"))
        for number in (0, 1)
    ]
    ledgers = ledger(
        one=entry(0), two=entry(2, region="two", filled=2, share=2, coordinates=it.coordinates(it.spec.regions[1]))
    )
    answer = plan(it, observed(one=jobs(), two=jobs(*failed)), ledgers)
    assert answer.regions["two"].held == 2
