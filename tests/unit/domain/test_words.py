"""Numbers in sentences."""

from __future__ import annotations

from tests.support.tables import table
from workforce_operator.domain.words import counted, verb


@table(("number", "sentence"), [(0, "0 workers are left"), (1, "1 worker is left"), (12, "12 workers are left")])
def test_a_sentence_agrees_with_its_number(number, sentence):
    assert f"{counted(number, 'worker')} {verb(number, 'is', 'are')} left" == sentence
