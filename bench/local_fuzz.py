"""Feeds broken bytes to the local Service Bus's decoder; fails if any does more than end its own connection.

    python bench/local_fuzz.py [INPUTS] [SEED]

Half of the inputs are real frames and messages with bytes changed, cut, doubled or spliced; the others are frames with
a sound head around junk, and junk. The seed is 1 unless given, so that two runs are alike. Failures are printed in hex.
"""

from __future__ import annotations

import logging
import random
import sys
import time
from collections import Counter

from workforce_local.servicebus import framing
from workforce_local.servicebus.amqp_types import Described, Symbol, Timestamp, UInt, ULong
from workforce_local.servicebus.connection import Connection
from workforce_local.servicebus.decoding import decode
from workforce_local.servicebus.encoding import described_list
from workforce_local.servicebus.errors import AmqpError
from workforce_local.servicebus.message import BATCH_FORMAT, DATA, HEADER, PROPERTIES, section, unbatch
from workforce_local.servicebus.namespaces import Namespaces

INPUTS = 120_000
SLOW_SECONDS = 1.0
_HELLO = (
    framing.SASL_HEADER
    + framing.frame(0, framing.SASL_INIT, [Symbol("ANONYMOUS")], sasl=True)
    + framing.AMQP_HEADER
    + framing.frame(0, framing.OPEN, ["client", "localhost", UInt(65536)])
    + framing.frame(0, framing.BEGIN, [None, UInt(0), UInt(1000), UInt(1000)])
)
_MESSAGE = (
    described_list(HEADER, [True, None, UInt(5000)])
    + section(0x72, {Symbol("x-opt-scheduled-enqueue-time"): Timestamp(1)})
    + described_list(PROPERTIES, ["id", None, "to", "subject", None, None, None, None, None, None, "session"])
    + section(0x74, {"job": "j", "number": 7, "nested": [1, {"a": None}]})
    + section(DATA, b"body")
)


def _attach(handle: int, address: str, *, role: bool) -> bytes:
    end = Described(ULong(0x28 if role else 0x29), [address, *[None] * 6, {} if role else None])
    source, target = (end, None) if role else (None, end)
    return framing.frame(0, framing.ATTACH, [f"link-{handle}", UInt(handle), role, None, None, source, target])


_ATTACHED = b"".join(
    _attach(number, address, role=role)
    for number, (address, role) in enumerate([("q", False), ("q", True), ("$cbs", False), ("$cbs", True)])
)
_SEEDS = [
    _HELLO,
    _ATTACHED,
    framing.frame(0, framing.FLOW, [UInt(0), UInt(100), UInt(0), UInt(100), UInt(1), UInt(0), UInt(5), None, False]),
    framing.frame(0, framing.TRANSFER, [UInt(0), UInt(0), b"tag", UInt(0), False, False], _MESSAGE),
    framing.frame(0, framing.TRANSFER, [UInt(0), UInt(0), b"t", UInt(BATCH_FORMAT)], section(DATA, _MESSAGE) * 2),
    framing.frame(0, framing.TRANSFER, [UInt(2), UInt(0), b"t"], section(0x74, {"operation": "put-token"})),
    framing.frame(0, framing.DISPOSITION, [True, UInt(0), UInt(9), False, Described(ULong(0x24), [])]),
    framing.frame(0, framing.DETACH, [UInt(0), True]),
    framing.frame(0, framing.END, []),
    framing.frame(0, framing.CLOSE, []),
]


def mutated(chance: random.Random, raw: bytes) -> bytes:
    """A few changes to sound bytes."""
    data = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        place, other = chance.randrange(len(data) + 1), chance.choice(_SEEDS)
        match chance.randrange(5):
            case 0:
                data[place : place + 1] = bytes([chance.choice((0, 1, 0x40, 0x7F, 0x80, 0xFF, chance.randrange(256)))])
            case 1:
                del data[place : place + chance.randint(1, 8)]
            case 2:
                data[place:place] = data[place : place + chance.randint(1, 16)]
            case 3:
                data[place:place] = other[chance.randrange(len(other)) :][:32]
            case _:
                data[place : place + 4] = chance.choice((0, 255, 1 << 31, 0xFFFFFFFF)).to_bytes(4, "big")
    return bytes(data)


def made_up(chance: random.Random) -> bytes:
    """A frame with a sound head and junk in it, or only junk."""
    junk = chance.randbytes(chance.randint(0, 120))
    if chance.random() < 0.2:
        return junk
    body = bytes((0, 0x53, chance.choice((*range(0x10, 0x19), 0x41, chance.randrange(256))))) + junk
    return (8 + len(body)).to_bytes(4, "big") + bytes((2, chance.choice((0, 0, 0, 1)), 0, 0)) + body


def one_input(chance: random.Random) -> bytes:
    """The next input."""
    return mutated(chance, chance.choice([*_SEEDS, _MESSAGE])) if chance.random() < 0.5 else made_up(chance)


def refused(data: bytes) -> str:
    """Give an input to every reader of bytes; what became of it. Anything but an AMQP error is let through."""
    for read in (decode, lambda raw: unbatch(raw, 0), lambda raw: unbatch(raw, BATCH_FORMAT)):
        try:
            read(data)
        except AmqpError:
            continue
    namespaces = Namespaces()
    namespaces.declare("bus").broker.create_queue("q")
    ended: list[None] = []
    connection = Connection(namespaces, None, lambda _: None, lambda: ended.append(None))
    connection.feed(_HELLO + _ATTACHED)
    connection.feed(data)
    connection.lost()
    return "connection ended" if ended else "connection lived on"


def run(inputs: int, seed: int) -> Counter[str]:
    """Try so many inputs.

    Raises:
        SystemExit: One of them did more than end its connection.
    """
    chance = random.Random(seed)  # noqa: S311 - inputs that can be had again, no secrets
    outcomes: Counter[str] = Counter()
    for number in range(inputs):
        data = one_input(chance)
        started = time.monotonic()
        try:
            outcomes[refused(data)] += 1
        except Exception as error:  # that is what is looked for
            raise SystemExit(f"input {number} of seed {seed}: {error!r}\n{data.hex()}") from error
        if time.monotonic() - started > SLOW_SECONDS:
            outcomes[f"took more than {SLOW_SECONDS:.0f} s"] += 1
    return outcomes


def main() -> None:
    """Run and print."""
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else INPUTS
    logging.disable()  # a line for each broken input tells nothing
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    started = time.monotonic()
    outcomes = run(inputs, seed)
    print(f"{inputs} inputs in {time.monotonic() - started:.0f} s (seed {seed}): {dict(outcomes)}")


if __name__ == "__main__":
    main()
