"""What a worker shows: progress on a terminal, metrics for Prometheus, levels of the log."""

import io
import json

import pytest
import structlog

from tests.support.tables import table
from workforce_agent import logs
from workforce_agent.display import Display
from workforce_agent.prometheus import PrometheusMetrics
from workforce_agent.sample import Sample

WORKING = Sample(
    mode="working", accepting=True, slots=4, busy=2, completed=38, failed=1, returned=3, lost=0, malformed=1,
    next_renewal=24.4, queue_size=120,
)  # fmt: skip


def changed(**changes):
    fields = {name: getattr(WORKING, name) for name in WORKING.__slots__}
    return Sample(**{**fields, **changes})


class Terminal(io.StringIO):
    def isatty(self):
        return True


def display(*samples, seconds=(0.0,)):
    given, clock = iter(samples), iter(seconds)
    return Display(lambda: next(given), Terminal(), now=lambda: next(clock))


def test_progress_says_running_done_failed_rate_queue_and_the_next_renewal():
    line = display(WORKING).line()
    assert line.plain == "2/4 running · 38 done · 1 failed · 0.0/min · queue 120 · next renewal 24 s"
    assert line.cell_len <= 80


@table(
    ("changes", "words"),
    [
        ({"next_renewal": None}, "2/4 running · 38 done · 1 failed · 0.0/min · queue 120"),
        ({"mode": "finishing"}, "finishing · 2/4 running"),
        ({"accepting": False}, "accepting nothing · 2/4 running"),
        ({"queue_size": None}, "· queue ?"),
        ({"next_renewal": -0.4}, "· next renewal 0 s"),
    ],
)
def test_progress_says_what_is_not_as_usual(changes, words):
    assert words in display(changed(**changes)).line().plain


def test_the_rate_is_that_of_the_last_minute():
    shown = display(WORKING, changed(completed=48), changed(completed=48), seconds=(0.0, 30.0, 300.0))
    assert "0.0/min" in shown.line().plain
    assert "20.0/min" in shown.line().plain
    assert "0.0/min" in shown.line().plain
    assert "3.0/s" in fast().plain


def fast():
    shown = display(WORKING, changed(completed=68), seconds=(0.0, 10.0))
    shown.line()
    return shown.line()


def test_before_there_is_a_worker_it_says_that_it_starts():
    assert display(None).line().plain == "starting"


def test_output_and_logs_are_written_above_the_progress():
    terminal = Terminal()
    shown = Display(lambda: WORKING, terminal)
    shown.start()
    shown.output(b"[a] \x1b[31mred\x1b[0m \xff\n[a] two\n")
    shown.write("a log line\n")
    shown.close()
    text = terminal.getvalue()
    assert text.index("two") < text.index("a log line") < text.rindex("38 done")


def scraped(metrics):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
    }


def test_metrics_say_what_the_worker_is_doing_and_count_its_events():
    metrics = PrometheusMetrics(lambda: WORKING)
    metrics({"event": "task_success", "duration_s": 2.5})
    metrics({"event": "control_unavailable"})
    metrics({"event": "control_unavailable"})
    found = scraped(metrics)
    assert found["workforce_agent_tasks_total", "completed"] == 38
    assert found["workforce_agent_tasks_total", "returned"] == 3
    assert found["workforce_agent_slots_busy",] == 2
    assert found["workforce_agent_slots",] == 4
    assert found["workforce_agent_accepting",] == 1
    assert found["workforce_agent_mode", "working"] == 1
    assert found["workforce_agent_queue_messages",] == 120
    assert found["workforce_agent_events_total", "control_unavailable"] == 2
    assert found["workforce_agent_task_duration_seconds_sum", "task_success"] == 2.5


def test_an_unknown_queue_size_is_no_metric():
    assert ("workforce_agent_queue_messages",) not in scraped(PrometheusMetrics(lambda: changed(queue_size=None)))


def test_before_there_is_a_worker_only_events_are_counted():
    assert ("workforce_agent_slots",) not in scraped(PrometheusMetrics(lambda: None))


@pytest.fixture
def configure():
    yield logs.configure
    structlog.reset_defaults()


def test_a_quiet_log_still_tells_its_sinks(configure):
    stream, told = io.StringIO(), []
    configure(verbose=-1, stream=stream, sinks=[told.append])
    structlog.get_logger().info("task_start", task_id="t")
    structlog.get_logger().warning("task_failure")
    assert [(event["event"], event["level"]) for event in told] == [("task_start", "info"), ("task_failure", "warning")]
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["task_failure"]


def test_a_sink_that_fails_harms_neither_the_log_nor_the_others(configure):
    stream, told = io.StringIO(), []
    configure(stream=stream, sinks=[lambda event: event["nothing"], told.append])
    structlog.get_logger().info("task_start")
    assert len(told) == 1
    assert "task_start" in stream.getvalue()


def test_the_log_is_for_people_on_a_terminal_and_json_elsewhere(configure):
    for stream, is_json in ((Terminal(), False), (io.StringIO(), True)):
        configure(stream=stream)
        structlog.get_logger().info("task_failure", task_id="t", queue="a/q", worker_id="w1", log="shown above")
        text = stream.getvalue()
        assert text.startswith("{") is is_json
        assert "task_failure" in text
        assert [word in text for word in ("a/q", "w1", "shown above")] == [is_json] * 3
