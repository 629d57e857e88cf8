"""Filters and pages of job lists, as AzureML's REST reference has them: Jobs - List."""

import pytest

from tests.support.job_records import Record, newest
from tests.support.tables import table
from workforce_local.azureml.errors import ArmError
from workforce_local.azureml.listing import Filter, page


def listed(query, *properties):
    chosen = Filter.read(query)
    return [index for index, given in enumerate(properties) if chosen.admits({"jobType": "Command", **given})]


def test_archived_jobs_are_listed_only_when_asked_for():
    jobs = ({"isArchived": False}, {"isArchived": True})
    assert listed({}, *jobs) == [0]
    assert listed({"listViewType": "ArchivedOnly"}, *jobs) == [1]
    assert listed({"listViewType": "All"}, *jobs) == [0, 1]


def test_an_unknown_view_is_refused():
    with pytest.raises(ArmError, match="listViewType"):
        Filter.read({"listViewType": "Some"})


def test_a_tag_filters_by_key_or_by_key_and_value():
    jobs = ({"tags": {"a": "1"}}, {"tags": {"a": "2"}}, {"tags": {}}, {})
    assert listed({"tag": "a"}, *jobs) == [0, 1]
    assert listed({"tag": "a=2"}, *jobs) == [1]


def test_properties_filter_by_all_comma_separated_pairs():
    jobs = ({"properties": {"p": "1", "q": "x"}}, {"properties": {"p": "1"}}, {"properties": {"q": "x"}})
    assert listed({"properties": "p=1"}, *jobs) == [0, 1]
    assert listed({"properties": "p=1,q"}, *jobs) == [0]
    assert listed({"properties": "p=1, q=x"}, *jobs) == [0]


def test_a_property_value_may_hold_an_equals_sign():
    assert listed({"properties": "p=a=b"}, {"properties": {"p": "a=b"}}, {"properties": {"p": "a"}}) == [0]


def test_the_job_type_filters_without_regard_to_case():
    assert listed({"jobType": "command"}, {}, {"jobType": "Sweep"}) == [0]


@table("query", [{"scheduled": "true"}, {"scheduleId": "s"}, {"assetName": "a"}])
def test_no_job_belongs_to_a_schedule_or_an_asset(query):
    assert listed(query, {}) == []


def test_pages_go_from_new_to_old_and_end_without_a_link():
    jobs = [Record(number) for number in range(1, 6)]
    seen, query, pages = [], {}, 0
    while True:
        found = page(newest(jobs), Filter.read(query), 2)
        seen += [job.sequence for job in found.items]
        pages += 1
        if found.skip is None:
            break
        query = {"$skip": found.skip}
    assert (seen, pages) == ([5, 4, 3, 2, 1], 3)


def test_a_job_hired_between_two_pages_neither_repeats_nor_hides_another():
    jobs = [Record(number) for number in range(1, 5)]
    first = page(newest(jobs), Filter.read({}), 2)
    second = page(newest([*jobs, Record(5)]), Filter.read({"$skip": first.skip}), 2)
    assert [job.sequence for job in (*first.items, *second.items)] == [4, 3, 2, 1]


def test_an_exactly_full_page_has_no_link():
    assert page(newest([Record(1), Record(2)]), Filter.read({}), 2).skip is None


def test_a_made_up_continuation_is_refused():
    with pytest.raises(ArmError, match="continuation"):
        Filter.read({"$skip": "abc"})
