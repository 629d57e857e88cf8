"""Kubernetes quantities in AzureML's words."""

from __future__ import annotations

import pytest

from tests.support.tables import table
from workforce_operator.adapters.azureml.quantity import shm_size


@table(
    ("quantity", "size"),
    [("256Mi", "256m"), ("2Gi", "2g"), ("512Ki", "512k"), ("1048576", "1048576b"), ("1k", "1000b"), ("3M", "3000000b")],
)
def test_a_size_stays_exactly_the_same(quantity, size):
    assert shm_size(quantity) == size


@table("quantity", ["", "256MB", "-1", "1.5Gi", "Mi", "1 Gi"])
def test_what_is_not_a_quantity_is_refused(quantity):
    with pytest.raises(ValueError, match="is not a memory size"):
        shm_size(quantity)
