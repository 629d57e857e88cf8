"""Path templates of the routes, by which requests are also logged."""

from __future__ import annotations

from workforce_local.azureml.ids import PROVIDER

WORKSPACE = "/subscriptions/{subscription}/resourceGroups/{group}/providers/" + PROVIDER + "/workspaces/{workspace}"
LOCATION = "/subscriptions/{subscription}/providers/" + PROVIDER + "/locations/{location}"
VIRTUAL_CLUSTER = (
    "/subscriptions/{subscription}/resourceGroups/{group}/providers/" + PROVIDER + "/virtualclusters/{name}"
)
JOB = WORKSPACE + "/jobs/{name}"
ENVIRONMENT = WORKSPACE + "/environments/{name}"
RUN = "/history/v1.0" + WORKSPACE + "/experiments/{experiment}/runs/{name}"
STUDIO = "/api/"
"""What the studio's own services begin with; they take tokens for another audience."""
INDEX = STUDIO + "{region}/index/v1.0" + WORKSPACE + "/entities"
EXECUTION = STUDIO + "{region}/execution/v1.0" + WORKSPACE + "/experiments/{experiment}/runId/{name}"
