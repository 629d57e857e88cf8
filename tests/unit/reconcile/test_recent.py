"""Which objects need not be read: new ones as the watch showed them, and those just written that nobody has changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from workforce_operator.api.base import FINALIZER
from workforce_operator.api.status import WorkforceStatus
from workforce_operator.ports.kubernetes import Key, StoredWorkforce
from workforce_operator.reconcile import recent as module
from workforce_operator.reconcile.recent import YOUNG, Recent

KEY, NOW = Key("chem", "md"), datetime(2026, 1, 1, tzinfo=UTC)
NEW = StoredWorkforce(KEY, "uid", 1, "7", None, (), {}, WorkforceStatus())
OURS = replace(NEW, finalizers=(FINALIZER,), resource_version="8")


@pytest.fixture
def recent():
    return Recent()


def test_what_was_just_written_serves_one_pass(recent):
    recent.wrote(OURS, NOW)
    assert recent.take(KEY, NOW + timedelta(seconds=5)) is OURS
    assert recent.take(KEY, NOW + timedelta(seconds=6)) is None


def test_what_was_written_long_ago_is_read_and_not_kept(recent):
    recent.wrote(OURS, NOW)
    assert recent.take(KEY, NOW + YOUNG) is None
    recent.wrote(OURS, NOW)
    recent.wrote(replace(OURS, key=Key("chem", "other")), NOW + YOUNG)
    assert recent.take(KEY, NOW + timedelta(seconds=1)) is None


def test_with_a_clock_that_was_set_back_it_is_read(recent):
    recent.wrote(OURS, NOW)
    assert recent.take(KEY, NOW - timedelta(seconds=1)) is None


@pytest.mark.parametrize("edit_is_told", ["before the answer", "after the answer"])
def test_an_edit_that_was_told_has_the_object_read_whenever_the_own_write_was_answered(recent, edit_is_told):
    if edit_is_told == "before the answer":
        recent.changed(KEY)
    recent.wrote(OURS, NOW)
    if edit_is_told == "after the answer":
        recent.changed(KEY)
    assert recent.take(KEY, NOW) is None
    recent.wrote(OURS, NOW)
    assert recent.take(KEY, NOW) is OURS


def test_a_new_object_is_taken_as_the_watch_showed_it_last(recent):
    edited = replace(NEW, generation=2, resource_version="9")
    recent.changed(KEY, NEW)
    recent.changed(KEY, edited)
    assert recent.take(KEY, NOW + timedelta(hours=1)) is edited
    assert recent.take(KEY, NOW) is None


@pytest.mark.parametrize("seen", [OURS, replace(NEW, deletion_time=NOW, finalizers=("somebody/else",)), None])
def test_an_object_that_is_not_new_or_is_gone_is_read(recent, seen):
    recent.changed(KEY, NEW)
    recent.changed(KEY, seen)
    assert recent.take(KEY, NOW) is None


def test_an_object_that_only_others_protect_is_new(recent):
    protected = replace(NEW, finalizers=("somebody/else",))
    recent.changed(KEY, protected)
    assert recent.take(KEY, NOW) is protected


def test_only_so_many_new_objects_are_kept(recent, monkeypatch):
    monkeypatch.setattr(module, "MOST_NEW", 1)
    other = replace(NEW, key=Key("chem", "other"))
    recent.changed(KEY, NEW)
    recent.changed(other.key, other)
    assert recent.take(other.key, NOW) is None
    assert recent.take(KEY, NOW) is NEW
