"""The command line where it needs no service."""

from click.testing import CliRunner

from tests.support.tables import table
from workforce_agent.cli import main
from workforce_agent.cli.push import line_kwargs

CLEAN = dict.fromkeys(("JOBQ_STORAGE", "JOBQ_QUEUE", "JOBQ_CONNECTION_STRING", "WORKFORCE_CLOUD"))


def invoke(*arguments, **environment):
    return CliRunner().invoke(main, list(arguments), env={**CLEAN, **environment})


@table("verb", ["run", "push", "size", "peek", "clear", "failed"])
def test_every_verb_has_help(verb):
    result = invoke(verb, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


@table(
    ("arguments", "words"),
    [
        (["run"], "name the queue: ACCOUNT/QUEUE"),
        (["run", "queue"], "'queue' does not name a queue"),
        (["run", "a/Tasks"], "'Tasks' cannot be a storage queue: write 3 to 56 lower-case letters"),
        (["run", "https://account/q"], "not the name of a storage account"),
        (["run", "a/tasks", "--time-limit", "soon"], "'soon' is not a duration"),
        (["run", "a/tasks", "-n", "0"], "num-workers"),
        (["run", "a/tasks", "--when-empty", "explode"], "when-empty"),
        (["run", "a/tasks", "--visibility-timeout", "1s"], "at least 2s"),
        (["run", "a/tasks", "--visibility-timeout", "8d"], "at most 7d"),
        (["run", "a/tasks", "--time-limit", "999999999w"], "longer than anything lasts"),
        (["run", "a/tasks", "--pool"], "--pool is for Python callables"),
        (["run", "a/tasks", "--proc", "m:f", "-t"], "for shell tasks"),
        (["push", "a/tasks", "-c", "true", "-e", "novalue"], "'novalue' is not K=V"),
        (["failed", "list"], "name the queue: ACCOUNT/QUEUE"),
        (["failed", "show", "a/tasks"], "give one task id"),
        (["failed", "show", "a/tasks", "x", "y"], "give one task id"),
        (["failed", "retry", "a/tasks"], "give task ids, or --all"),
        (["failed", "drop", "a/tasks", "x", "--all"], "give task ids, or --all"),
        (["frobnicate"], "No such command"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(arguments, words):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_an_unknown_cloud_is_wrong_usage():
    result = invoke("size", "a/tasks", WORKFORCE_CLOUD="/nowhere.json")
    assert result.exit_code == 2
    assert "no such file" in result.output


def test_settings_of_the_environment_are_checked_like_flags():
    result = invoke("run", "a/tasks", JOBQ_TIME_LIMIT="never")
    assert result.exit_code == 2
    assert "'never' is not a duration" in result.output


@table(
    ("line", "expected"),
    [
        ("echo a", {"cmd": "echo a", "bg_dirsync_to": None, "env": {"K": "V"}}),
        (
            '{"cmd": "x", "env": {"K": "old", "L": "1"}}',
            {"cmd": "x", "env": {"K": "V", "L": "1"}, "bg_dirsync_to": None},
        ),
        ("{ echo a; }", {"cmd": "{ echo a; }", "bg_dirsync_to": None, "env": {"K": "V"}}),
        ('{"x": 1}', {"x": 1, "env": {"K": "V"}, "bg_dirsync_to": None}),
        ('{"x": 1, "env": "test"}', {"x": 1, "env": "test", "bg_dirsync_to": None}),
    ],
)
def test_a_line_of_input_is_a_command_or_a_tasks_arguments(line, expected):
    kwargs = line_kwargs(line, {"K": "V"})
    assert kwargs == expected
    assert list(kwargs) == list(expected)
