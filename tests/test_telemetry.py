"""Log lines: one JSON object each, together where they can be, and in order."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest

from rabbitgw import telemetry
from tests.loops import until


@contextmanager
def configured(level: str = "INFO") -> Iterator[None]:
    root = logging.getLogger()
    before, was = list(root.handlers), root.level
    telemetry.configure(level)
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(was)
        telemetry._lines.wanted = False


async def test_lines_of_one_moment_leave_together_soon(capsys: pytest.CaptureFixture[str]) -> None:
    with configured():
        telemetry.log("one", cost_nanos=9_007_199_254_740_993, model="é\n")
        telemetry.log("two")
    assert capsys.readouterr().err == ""
    said: list[str] = []

    def written() -> bool:
        said.extend(capsys.readouterr().err.splitlines())
        return bool(said)

    await until(written)
    one, two = map(orjson.loads, said)
    assert (one["event"], one["level"], one["cost_nanos"]) == ("one", "INFO", 9_007_199_254_740_993)
    assert one["model"] == "é\n"
    assert two["event"] == "two"
    assert one["time"].endswith("+00:00")
    assert len(one["time"]) == len("2026-11-21T10:19:12.418+00:00")


async def test_a_warning_comes_behind_what_was_logged_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    with configured():
        telemetry.log("first", what=asyncio)  # no JSON type: as text
        telemetry.warn("second", reason="x")
    said = [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in said] == ["first", "second"]


def test_without_a_loop_a_line_leaves_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with configured():
        telemetry.log("alone")
    assert orjson.loads(capsys.readouterr().err)["event"] == "alone"


def test_what_waits_is_written_at_the_end_of_the_process() -> None:
    program = (
        "import asyncio\n"
        "from rabbitgw import telemetry\n"
        "async def main():\n"
        "    telemetry.configure('INFO')\n"
        "    telemetry.log('last')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert orjson.loads(done.stderr)["event"] == "last"


def test_a_level_above_info_writes_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with configured("ERROR"):
        telemetry.log("unwanted")
        telemetry.error("wanted")
    assert [orjson.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["wanted"]


async def test_a_log_that_cannot_be_written_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    with configured():
        monkeypatch.setattr(sys, "stderr", Full())
        telemetry.log("first")
        telemetry.warn("second")
        telemetry._lines.flush()
        monkeypatch.undo()


async def test_what_waits_leaves_in_pieces_that_a_pipe_keeps_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Pipe:
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

        def flush(self) -> None: ...

    with configured():
        monkeypatch.setattr(sys, "stderr", Pipe())
        for number in range(100):
            telemetry.log("line", number=number, padding="x" * 300)
        telemetry._lines.flush()
        monkeypatch.undo()
    assert all(len(text) <= 4096 and text.endswith("\n") for text in written)
    assert [orjson.loads(line)["number"] for line in "".join(written).splitlines()] == list(range(100))


async def test_a_tasks_lines_say_what_they_are_about_and_no_other_tasks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def one(about: str, **said: str) -> None:
        telemetry.about(request_id=about)
        await asyncio.sleep(0)
        telemetry.log("info", **said)
        telemetry.warn("warning", **said)

    with configured():
        await asyncio.gather(one("a"), one("b", order_id="o"), one("c", request_id="its own"))
        telemetry.error("outside")
        lines = [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = {(line["event"], line.get("request_id"), line.get("order_id")) for line in lines}
    ids = [("a", None), ("b", "o"), ("its own", None)]
    assert told == {(event, *one) for event in ("info", "warning") for one in ids} | {("outside", None, None)}
    assert len(lines) == 7
