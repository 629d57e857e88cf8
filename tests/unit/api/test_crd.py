"""The generator: what is kept is what it makes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

from tests.support.tables import table
from workforce_operator.api.base import Model
from workforce_operator.api.crd import COLUMNS, definition, definition_text, main, page_text, schema
from workforce_operator.api.schema import structural
from workforce_operator.api.spec import WorkforceSpec

ROOT = Path(__file__).parents[3]
KEPT = [ROOT / "crds/workforces.yaml", ROOT / "helm/workforce-operator/crds/workforces.yaml"]
PAGE = ROOT / "docs/reference/workforce.md"
DEFINITION = definition()
PROPERTIES = schema()["properties"]


def test_the_kept_files_are_what_the_models_say():
    assert main(["--check", *map(str, KEPT), "--check-docs", str(PAGE)]) == 0


def test_a_stale_file_fails_the_check_and_says_what_to_do(tmp_path, capsys):
    stale = tmp_path / "workforces.yaml"
    stale.write_text("other")
    assert main(["--check", str(stale), "--check-docs", str(tmp_path / "missing.md")]) == 1
    said = capsys.readouterr().err
    assert f"{stale} is out of date: run make crds" in said
    assert "missing.md" in said


def test_what_is_written_passes_the_check(tmp_path):
    where, page = str(tmp_path / "new/workforces.yaml"), str(tmp_path / "page.md")
    assert main(["--write", where, "--write-docs", page]) == 0
    assert main(["--check", where, "--check-docs", page]) == 0


def test_without_options_the_definition_is_printed(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out == definition_text()


def test_the_text_has_no_aliases():
    assert yaml.load(definition_text(), yaml.CSafeLoader) == DEFINITION
    assert not re.search(r"[:\-] [&*]id\d+", definition_text())


def test_names_and_subresources():
    spec = DEFINITION["spec"]
    assert DEFINITION["metadata"]["name"] == "workforces.workforce.dev"
    assert spec["names"]["shortNames"] == ["wf"]
    assert spec["names"]["categories"] == ["workforce"]
    assert spec["versions"][0]["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }


@table("column", COLUMNS)
def test_every_printer_column_names_a_field_of_its_type(column: dict[str, Any]):
    node = {"properties": PROPERTIES | {"metadata": {"properties": {"creationTimestamp": {"type": "date"}}}}}
    for part in re.findall(r"[A-Za-z]+(?=[.\[]|$)", column["jsonPath"].split("[?")[0]):
        node = node["properties"][part]
    if "[?" in column["jsonPath"]:
        node = node["items"]["properties"][column["jsonPath"].rsplit(".", 1)[1]]
    assert node["type"] == column["type"]


def test_the_narrow_table_has_the_documented_columns():
    narrow = [column["name"].upper() for column in COLUMNS if "priority" not in column]
    assert narrow == ["DESIRED", "RUNNING", "PENDING", "DRAINING", "QUEUE", "READY", "AGE"]
    assert [column["name"].upper() for column in COLUMNS if "priority" in column] == ["REGIONS", "REASON", "POLICY"]


def test_the_page_tells_every_field_and_every_rule():
    page = page_text()
    assert "| `spec.queue.type` * | string |  | `Storage`, `ServiceBus` | Kind of the queue. |" in page
    assert "`spec.regions[].compute`: must not change for a region" in page
    for name in WorkforceSpec.model_fields.values():
        assert f"`spec.{name.alias}`" in page


def test_a_model_that_cannot_be_structural_is_refused():
    class Bad(Model):
        """Two types in one field."""

        value: int | str = Field(default=0)

    with pytest.raises(ValueError, match="a structural schema allows one"):
        structural(Bad, defaults=True)
