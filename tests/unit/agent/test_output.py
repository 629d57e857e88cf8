"""Output of tasks: prefixed, bounded, any bytes."""

import os

from workforce_agent.output import KEPT_LINES, PIECE, TaskOutput, Writer


class Collect:
    """A writer that keeps what it is given."""

    full = False

    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += data


def test_every_line_carries_the_tasks_id():
    writer = Collect()
    output = TaskOutput("t1", writer)
    output.feed(b"one\ntw")
    output.feed(b"o\nthree")
    assert output.close() == ["one", "two", "three"]
    assert writer.data == b"[t1] one\n[t1] two\n[t1] three\n"


def test_bytes_that_are_no_text_pass_through():
    writer = Collect()
    output = TaskOutput("t1", writer)
    output.feed(b"\xff\x00\n")
    assert writer.data == b"[t1] \xff\x00\n"
    assert output.close() == ["\ufffd\x00"]


def test_a_line_without_end_is_passed_on_in_pieces_and_never_kept_whole():
    writer = Collect()
    output = TaskOutput("t1", writer)
    for _ in range(100):
        output.feed(b"x" * PIECE)
    assert len(output._pending) <= PIECE
    assert writer.data.count(b"x") >= 99 * PIECE
    assert all(len(line) <= 1000 for line in output.close())


def test_the_last_lines_are_kept():
    output = TaskOutput("t1", Collect())
    output.feed(b"".join(b"%d\n" % number for number in range(1000)))
    assert output.close() == [str(number) for number in range(1000 - KEPT_LINES, 1000)]


def test_a_writer_keeps_the_order_and_writes_all_before_it_closes():
    reading, writing = os.pipe()
    writer = Writer(writing)
    for number in range(100):
        writer.write(b"%d\n" % number)
    writer.close()
    os.close(writing)
    with os.fdopen(reading) as handle:
        assert handle.read().split() == [str(number) for number in range(100)]


def test_a_broken_output_breaks_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    writer = Writer(writing)
    writer.write(b"x")
    writer.close()
    os.close(writing)
