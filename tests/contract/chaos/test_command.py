"""``workforce local chaos`` and ``workforce local insights`` against a local Azure that runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest_asyncio
from click.testing import CliRunner

from tests.support.azure import FAST
from workforce_local.azure import LocalAzure
from workforce_local.cli import local
from workforce_local.config import LocalConfig


@pytest_asyncio.fixture
async def run(tmp_path: Path):
    """Runs a command beside the loop that serves it."""
    async with LocalAzure(tmp_path / "azure", LocalConfig(timing=FAST)):

        async def run(*arguments):
            words = [*arguments, "--state-dir", str(tmp_path)]
            return await asyncio.to_thread(CliRunner().invoke, local, words)

        yield run


async def test_a_scenario_is_applied_listed_and_cleared(run, tmp_path):
    file = tmp_path / "storm.yaml"
    file.write_text(
        "seed: 4\nfaults:\n- {kind: throttle, name: storm, where: {service: arm, method: PUT}}\n- kind: nodeLoss\n"
    )
    assert (await run("chaos", "apply", str(file))).output == "set storm\nset nodeLoss-1\n"
    listed = (await run("chaos", "list")).output
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [["storm", "throttle"], ["nodeLoss-1", "nodeLoss"]]
    assert "service=arm method=PUT" in listed
    assert (await run("chaos", "clear", "storm")).output == "removed 1\n"
    assert (await run("chaos", "clear")).output == "removed 1\n"
    assert (await run("chaos", "list")).output == "no faults\n"


async def test_one_fault_is_added_by_its_fields_and_the_log_says_what_it_did(run):
    added = await run("chaos", "add", "dropConnections", "namespace=wf-bus", "name=cut")
    assert added.output == "set cut\n"
    for _ in range(1000):
        if said := (await run("chaos", "log", "--json")).output:
            break
        await asyncio.sleep(0.02)
    assert json.loads(said)["what"] == "wf-bus"
    assert "cut serviceBus wf-bus 0 connections" in (await run("chaos", "log", "--fault", "cut")).output
    latency = await run("chaos", "add", "latency", "service=[queue, blob]", "seconds=0.5", "share=0.1")
    assert latency.output == "set latency-1\n"
    assert "service=queue,blob" in (await run("chaos", "list")).output
    late = await run("chaos", "add", "latency", "name=late", "method=PUT", "path=*/jobs/*")
    assert late.output == "set late\n"
    assert "path=*/jobs/*" in (await run("chaos", "list")).output


async def test_a_value_that_is_no_number_or_list_is_the_text_that_was_typed(run):
    for path in ("*/jobs/*", "*", "a: b", "&jobs", "2026-03-09"):
        await run("chaos", "add", "lostResponse", "name=lost", "service=arm", f"path={path}")
        assert f"path={path}" in (await run("chaos", "list")).output
    assert (await run("chaos", "add", "throttle", "name=mute", "retryAfterSeconds=null")).output == "set mute\n"


async def test_mistakes_are_told_with_their_place(run, tmp_path):
    wrong = await run("chaos", "add", "throttle", "share=7")
    assert wrong.exit_code == 1
    assert "faults[0].share" in wrong.output
    assert (await run("chaos", "add", "throttle", "share")).exit_code == 2
    broken = await run("chaos", "add", "throttle", "share=[1")
    assert broken.exit_code == 2
    assert "share=[1: the value begins like YAML's lists and objects, and is none" in broken.output
    nowhere = await run("chaos", "add", "nodeLoss", "region=nowhere")
    assert nowhere.exit_code == 1
    assert "faults[0].region: there is no region nowhere, only uksouth, westeurope" in nowhere.output
    assert (await run("chaos", "log", "--service", "arms")).exit_code == 2
    missing = await run("chaos", "clear", "nobody")
    assert missing.exit_code == 1
    assert "no fault has the name nobody" in missing.output


async def test_insights_says_when_nothing_arrived(run):
    done = await run("insights")
    assert done.exit_code == 0
    assert "nothing arrived yet" in done.output
    assert "nothing like that arrived yet" in (await run("insights", "--type", "requests")).output
    assert (await run("insights", "--type", "request")).exit_code == 2


def test_without_a_local_cloud_the_command_says_so(tmp_path):
    done = CliRunner().invoke(local, ["chaos", "list", "--state-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "no local Azure was started here; to start it: workforce local up" in done.output


async def test_a_local_cloud_that_has_ended_is_named_with_how_to_start_it(tmp_path):
    async with LocalAzure(tmp_path / "azure", LocalConfig(timing=FAST)):
        pass
    done = await asyncio.to_thread(CliRunner().invoke, local, ["chaos", "list", "--state-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "does not answer" in done.output
    assert "to start it: workforce local up" in done.output


def test_the_kinds_of_faults_are_listed_with_their_fields():
    done = CliRunner().invoke(local, ["chaos", "kinds"])
    assert "lostResponse: " in done.output
    assert "retryAfterSeconds" in done.output
