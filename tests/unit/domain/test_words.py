"""Numbers in sentences."""

from __future__ import annotations

from tests.support.tables import table
from workforce_operator.domain.words import counted, cut, verb


@table(("number", "sentence"), [(0, "0 workers are left"), (1, "1 worker is left"), (12, "12 workers are left")])
def test_a_sentence_agrees_with_its_number(number, sentence):
    assert f"{counted(number, 'worker')} {verb(number, 'is', 'are')} left" == sentence


@table(("text", "told"), [("a role is missing", "a role is missing"), ("a role is missing.", "a role is missin…")])
def test_a_text_that_was_cut_shows_it(text, told):
    assert cut(text, 17) == told
