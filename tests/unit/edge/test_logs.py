"""Every line says what it is about, whoever wrote it, and foreign extras stay out."""

import io
import json
import logging

import pytest
import structlog

from workforce_operator import logs


@pytest.fixture
def lines():
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure(style="json", level="info", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in before:
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_a_line_carries_the_workforce_region_and_job_it_is_about(lines):
    with logs.about(workforce="chem/md", region="uksouth"), logs.about(job="md-1"):
        structlog.stdlib.get_logger("x").info("hired", sequence=1)
    (line,) = lines()
    assert (line["workforce"], line["region"], line["job"]) == ("chem/md", "uksouth", "md-1")
    assert (line["message"], line["level"], line["sequence"], line["logger"]) == ("hired", "info", 1, "x")
    assert line["time"].endswith("Z")


def test_lines_of_other_libraries_carry_it_too(lines):
    with logs.about(workforce="chem/md"):
        logging.getLogger("other").warning("odd: %s", 3)
    (line,) = lines()
    assert (line["workforce"], line["message"]) == ("chem/md", "odd: 3")


def test_after_the_block_nothing_is_left(lines):
    with logs.about(workforce="chem/md"):
        pass
    structlog.stdlib.get_logger().info("idle")
    assert "workforce" not in lines()[0]


def test_the_settings_object_that_kopf_attaches_to_each_record_is_not_written(lines):
    extra = {"settings": object(), "k8s_ref": {"namespace": "chem", "name": "md"}, "k8s_skip": True}
    logging.getLogger("kopf.x").warning("watching", extra=extra)
    (line,) = lines()
    assert line["workforce"] == "chem/md"
    assert not {"settings", "k8s_ref", "k8s_skip"} & set(line)


def test_one_line_per_watch_event_is_too_much(lines):
    logging.getLogger("kopf.objects").info("Handler 'changed' succeeded.")
    assert lines() == []


def test_an_exception_is_one_line(lines):
    try:
        int("broken")
    except ValueError:
        structlog.stdlib.get_logger().exception("failed")
    (line,) = lines()
    assert "ValueError: invalid literal" in line["exception"]


def test_the_console_style_is_for_people(lines):
    stream = io.StringIO()
    logs.configure(style="console", level="info", stream=stream)
    with logs.about(workforce="chem/md"):
        structlog.stdlib.get_logger().info("hired")
    assert "hired" in stream.getvalue()
    assert "workforce=chem/md" in stream.getvalue()
