"""Settings come from the environment, and a wrong one is told in one line."""

import sys
from types import SimpleNamespace

import pytest

from jobq.version import __version__
from workforce_operator.__main__ import main
from workforce_operator.reconcile.loop import SPREAD
from workforce_operator.settings import KEEP_SECONDS, Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"WORKFORCE_{name.upper()}", raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def nothing_starts(monkeypatch):
    """Whoever starts the operator fails; in the place of the real one, which is large, it need not be loaded."""
    compose = SimpleNamespace(run=lambda: pytest.fail("it was started"))
    monkeypatch.setitem(sys.modules, "workforce_operator.compose", compose)


def test_without_any_variable_the_defaults_hold():
    settings = load_settings()
    assert (settings.cloud, settings.namespaces, settings.installation_id) == ("AzureCloud", (), None)
    assert (settings.poll_seconds, settings.resync_seconds) == (5.0, 30.0)
    assert settings.pod_ip == "127.0.0.1"


def test_idle_connections_to_azure_outlive_the_pause_between_two_regular_passes():
    assert load_settings().resync_seconds * (1 + SPREAD) < KEEP_SECONDS


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", "")
    monkeypatch.setenv("WORKFORCE_INSTALLATION_ID", "")
    monkeypatch.setenv("WORKFORCE_NAMESPACES", "")
    settings = load_settings()
    assert (settings.installation_id, settings.namespaces) == (None, ())
    assert settings.applicationinsights_connection_string is None
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=k")
    assert load_settings().applicationinsights_connection_string == "InstrumentationKey=k"


def test_namespaces_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("WORKFORCE_NAMESPACES", "chem, md-sims,")
    assert load_settings().namespaces == ("chem", "md-sims")


def test_the_pod_tells_its_namespace_name_and_address(monkeypatch):
    monkeypatch.setenv("POD_NAMESPACE", "system")
    monkeypatch.setenv("POD_NAME", "operator-0")
    monkeypatch.setenv("POD_IP", "127.1.2.3")
    settings = load_settings()
    assert (settings.pod_namespace, settings.pod_name, settings.pod_ip) == ("system", "operator-0", "127.1.2.3")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("WORKFORCE_POLL_SECONDS", "soon", "number"),
        ("WORKFORCE_POLL_SECONDS", "0", "greater than 0"),
        ("WORKFORCE_NAMESPACES", "Chem", "'Chem' is not a namespace's name"),
        ("WORKFORCE_INSTALLATION_ID", "short", "match pattern"),
        ("WORKFORCE_LOG_FORMAT", "xml", "'json' or 'console'"),
        ("WORKFORCE_LOG_LEVEL", "loud", "'debug'"),
        ("WORKFORCE_HTTP_PORT", "70000", "65535"),
        ("WORKFORCE_WORKERS", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_told_in_one_line_that_names_the_variable(monkeypatch, variable, value, says):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    text = str(caught.value)
    assert text.startswith(f"{variable}={value!r}: ")
    assert says in text
    assert "\n" not in text


@pytest.mark.usefixtures("nothing_starts")
@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_whoever_asks_for_help_is_told_every_variable_and_nothing_is_started(monkeypatch, capsys, asked):
    monkeypatch.setattr("sys.argv", ["workforce-operator", asked])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert max(map(len, said.splitlines())) <= 80
    variables = [line.split()[0] for line in said.splitlines() if line.startswith("  ") and line[2] != " "]
    assert len(variables) == len(Settings.model_fields)
    assert {"POD_NAME", "WORKFORCE_CLOUD", "APPLICATIONINSIGHTS_CONNECTION_STRING"} <= set(variables)
    assert "WORKFORCE_POLL_SECONDS [5.0]" in said


@pytest.mark.usefixtures("nothing_starts")
@pytest.mark.parametrize(("words", "code"), [(["--version"], 0), (["--namespace", "chem"], 2)])
def test_with_arguments_nothing_is_started(monkeypatch, capsys, words, code):
    monkeypatch.setattr("sys.argv", ["workforce-operator", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == code
    assert "--namespace chem: it takes no arguments" in said.err if code else __version__ in said.out


def test_log_settings_are_read_in_any_case(monkeypatch):
    monkeypatch.setenv("WORKFORCE_LOG_LEVEL", "INFO")
    monkeypatch.setenv("WORKFORCE_LOG_FORMAT", "Console")
    assert (load_settings().log_level, load_settings().log_format) == ("info", "console")
