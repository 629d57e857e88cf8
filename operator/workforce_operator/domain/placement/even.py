"""Even division, exactly: as if one replica after the other went to where there are fewest for the weight."""

from __future__ import annotations

from collections.abc import Sequence

from workforce_operator.domain.value import value


@value
class Slot:
    """A number that may be raised from ``start`` to ``end``; ``weight`` is at least 1."""

    name: str
    start: int
    end: int
    weight: int = 1


def raised(amount: int, slots: Sequence[Slot]) -> dict[str, int]:
    """The numbers after ``amount`` single steps, each to the slot with the smallest ``(number + 1) / weight``.

    Ties go by the order of the slots. Steps that no slot has room for are left out. Linear in the slots, whatever
    the amount.
    """
    numbers = {slot.name: slot.start for slot in slots}
    amount = min(amount, sum(slot.end - slot.start for slot in slots))
    if amount <= 0:
        return numbers
    # Between two levels no number grows by more than one.
    unit = max(slot.weight for slot in slots)
    level = _level(amount, slots, unit)
    numbers = {slot.name: _at(slot, level, unit) for slot in slots}
    left = amount - sum(numbers[slot.name] - slot.start for slot in slots)
    open_slots = [slot for slot in slots if numbers[slot.name] < slot.end]
    open_slots.sort(key=lambda slot: (numbers[slot.name] + 1) / slot.weight)
    for slot in open_slots[:left]:
        numbers[slot.name] += 1
    return numbers


def lowered(amount: int, slots: Sequence[Slot]) -> dict[str, int]:
    """The numbers after ``amount`` single steps down from ``end``, each from the largest number; not below start."""
    mirrored = [Slot(slot.name, -slot.end, -slot.start) for slot in reversed(slots)]
    return {name: -number for name, number in raised(amount, mirrored).items()}


def _at(slot: Slot, level: int, unit: int) -> int:
    return min(max(level * slot.weight // unit, slot.start), slot.end)


def _level(amount: int, slots: Sequence[Slot], unit: int) -> int:
    """The highest level up to which all slots can be raised without taking more steps than there are."""
    low = min(slot.start * unit // slot.weight for slot in slots)
    high = max(-(-slot.end * unit // slot.weight) for slot in slots)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(_at(slot, middle, unit) - slot.start for slot in slots) <= amount:
            low = middle
        else:
            high = middle - 1
    return low
