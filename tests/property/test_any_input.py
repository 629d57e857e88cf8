"""Whatever text or bytes come from a queue, a topic or a person: an answer, or the error that says why not."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from jobq.backends.service_bus_text import from_native
from jobq.control import Operation
from jobq.dead_letter import decode_dead_letter
from jobq.durations import DurationError, parse_duration
from jobq.errors import TaskError
from jobq.task import Task, decode_task
from workforce_agent.orders import Act, judge_targeted, judge_untargeted


@given(st.binary())
def test_any_bytes_have_an_answer(body):
    assert judge_untargeted(body, job="j1", accepting=True).act in Act


@given(st.fixed_dictionaries({"operation": st.sampled_from(list(Operation))}, optional={"x": st.text()}))
def test_fields_that_a_node_does_not_know_are_ignored(fields):
    order = json.dumps(fields).encode()
    assert judge_targeted(order, job="j1", known_revision=0).act is Act.APPLY


@given(st.text())
def test_any_text_is_a_duration_or_an_error(text):
    with suppress(DurationError):
        assert parse_duration(text) >= timedelta(0)


@given(st.text(), st.none() | st.text(), st.none() | st.text())
def test_any_dead_letter_can_be_read(body, reason, description):
    with suppress(UnicodeEncodeError):
        assert decode_dead_letter(from_native(body, reason, description)) is not None


@given(st.text())
def test_any_text_is_a_task_or_a_task_error(text):
    with suppress(TaskError):
        decode_task(text)


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()), st.integers(0, 100))
def test_a_task_survives_the_wire(kwargs, num_retries):
    task = Task.new(kwargs, num_retries=num_retries, deterministic=True)
    assert decode_task(task.encode()) == task
    assert task.kwargs == kwargs
