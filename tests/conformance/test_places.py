"""How the real Azure is found, and that what is given is asked: the local cloud stands in for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.places import IMAGE, NAMES, PATIENCE, SUBSCRIPTION, NoAzureError, Place, real_azure

CHECKOUT = Path(__file__).resolve().parents[2]
GIVEN = {SUBSCRIPTION: "s", **{variable: attribute for attribute, variable in NAMES.items()}}
ASKED = ("test_jobs_are_found_by_a_property_and_its_value", "test_dead_letters_carry_reason_and_description",
         "test_peeking_takes_nothing")  # fmt: skip


def test_without_a_subscription_every_missing_variable_is_named():
    with pytest.raises(NoAzureError) as caught:
        real_azure({})
    assert all(variable in str(caught.value) for variable in GIVEN)


def test_a_subscription_alone_is_not_enough():
    with pytest.raises(NoAzureError, match=NAMES["workspace"]):
        real_azure({**GIVEN, NAMES["workspace"]: ""})


def test_what_the_variables_name_is_the_place():
    place = real_azure({**GIVEN, IMAGE: "registry/image:1", PATIENCE: "7"})
    assert (place.cloud.name, place.subscription, place.account) == ("AzureCloud", "s", "account")
    assert (place.image, place.patience, place.environ) == ("registry/image:1", 7.0, {})
    assert place.workspace_id.startswith("/subscriptions/s/resourceGroups/resource_group/")


def test_the_real_azure_is_asked_too():
    """One line in every run says whether it was; with a subscription, each test of this folder has a second case."""
    try:
        real_azure(os.environ)
    except NoAzureError as error:
        if os.environ.get(SUBSCRIPTION):
            raise
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_azure_that_the_environment_names_is_asked(place: Place):
    """A run of its own, with the local cloud as the Azure: the same tests pass, and none is skipped."""
    if not place.environ:
        pytest.skip("the real Azure is asked by this very run")
    names = {variable: getattr(place, attribute) for attribute, variable in NAMES.items()}
    environ = {**os.environ, **place.environ, **names, SUBSCRIPTION: place.subscription, PATIENCE: "60"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance"]
    command += ["-k", f"azure and not places and ({' or '.join(ASKED)}) and not local"]
    done = subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    # Storage and Service Bus keep the same contract of queues.
    assert f"{len(ASKED) + 1} passed" in done.stdout, done.stdout[-4000:]
