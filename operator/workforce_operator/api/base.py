"""What all models of the resource share: camelCase on the wire, snake_case in Python, immutability."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

GROUP = "workforce.dev"
VERSION = "v1alpha1"
KIND = "Workforce"
PLURAL = "workforces"
SINGULAR = "workforce"
SHORT_NAME = "wf"
FINALIZER = f"{GROUP}/workers"


class Model(BaseModel):
    """Base of every model of the resource. Unknown fields are ignored: the API server has refused or pruned them."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, use_attribute_docstrings=True
    )
