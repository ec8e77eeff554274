"""The cells of the matrix: SDK version x sync or async x dialect x plain or streamed x situation or feature.

Each case has a model of its own, so that upstream's scripts, its requests and the bill lines are told apart by it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.fakes.openai_upstream import Script
from tests.sdks.calls import Call, Sdk
from tests.sdks.features import FEATURES, Feature
from tests.sdks.post_counter import CASE_HEADER
from tests.sdks.situations import SITUATIONS, Situation

CHECKOUT = Path(__file__).resolve().parents[2]
SDKS_VARIABLE = "RABBITGW_SDKS"
SDKS_DEFAULT = CHECKOUT / ".cache" / "sdks"
FREE = ("anthropic-count-tokens",)
UNKNOWN_MODEL = "no-such-model"
UNPRICED_MODEL = "unpriced-model"
PATTERNS = {  # of models of cases, and their prices
    "case-*": {"input": "2.50", "output": "10"},
    "thin-*": {"input": "1", "output": "1000"},
    "listed-*": {"input": "1", "output": "1"},
}


@dataclass(frozen=True)
class Version:
    """One SDK at one version. `old`: it is installed in a folder of its own (`make sdks`)."""

    sdk: Sdk
    version: str
    old: bool = False

    def __str__(self) -> str:
        return f"{self.sdk} {self.version}"

    @property
    def folder(self) -> Path | None:
        if not self.old:
            return None
        return Path(os.environ.get(SDKS_VARIABLE) or SDKS_DEFAULT) / f"{self.sdk}-{self.version}"


VERSIONS = (
    Version("openai", "3.52.0"),
    Version("openai", "1.109.1", old=True),
    Version("anthropic", "2.11.0"),
    Version("anthropic", "0.125.0", old=True),
)


@dataclass(frozen=True)
class Case:
    """One cell. `row` is what is tried; `model` is the cell's own, but where the model is what is wrong."""

    number: int
    version: Version
    sync: bool
    call: Call
    streamed: bool
    row: Situation | Feature
    model: str

    @property
    def id(self) -> str:
        mode = "sync" if self.sync else "async"
        form = "stream" if self.streamed else "plain"
        return f"{self.version.sdk}-{self.version.version}/{mode}/{self.call.dialect}/{form}/{self.row.name}"

    @property
    def has_own_model(self) -> bool:
        return self.call.names_model and self.model not in (UNKNOWN_MODEL, UNPRICED_MODEL)

    @property
    def scripts(self) -> tuple[Script, ...]:
        if isinstance(self.row, Feature):
            return tuple(self.row.scripts)
        return () if self.row.script is None else (self.row.script,)

    def told(self, base_url: str, key: str | None) -> dict[str, Any]:
        """What client.py gets."""
        call, row = self.call, self.row
        arguments = {**call.arguments, **({"model": self.model} if call.names_model else {})}
        if self.streamed:
            arguments |= call.stream_arguments
        if isinstance(row, Feature):
            arguments |= row.arguments
        elif row.body:
            arguments["extra_body"] = {
                OUTPUT_LIMITS.get(call.dialect, name) if name == "max_tokens" else name: value
                for name, value in row.body.items()
            }
        path = "/v1" if self.version.sdk == "openai" else ""
        return {
            "id": self.id,
            "sync": self.sync,
            "base_url": base_url + path,
            "key": key,
            "method": call.method,
            "arguments": arguments,
            "headers": {CASE_HEADER: str(self.number), **row.headers},
            "reads": call.stream_reads if self.streamed else call.reads,
            "options": dict(row.options) if isinstance(row, Situation) else {},
        }


OUTPUT_LIMITS = {"openai-responses": "max_output_tokens"}  # what `max_tokens` is called elsewhere


def all_cases() -> list[Case]:
    return [replace(case, number=number, model=case.model or model_of(case, number))
            for number, case in enumerate(_cells(), 1)]  # fmt: skip


def model_of(case: Case, number: int) -> str:
    kind = "thin" if isinstance(case.row, Situation) and case.row.key == "thin" else "case"
    return f"{kind}-{number}"


def _cells() -> Iterator[Case]:
    for version in VERSIONS:
        for sync in (True, False):
            for feature in FEATURES:
                if feature.call.sdk == version.sdk:
                    yield Case(0, version, sync, feature.call, feature.streamed, feature, "")
            for situation in SITUATIONS:
                for call, streamed in _calls(version, situation):
                    yield Case(0, version, sync, call, streamed, situation, _wrong_model(situation))


def _calls(version: Version, situation: Situation) -> Iterator[tuple[Call, bool]]:
    """The calls that can get into a situation, plain and streamed."""
    for call in situation.calls:
        if call.sdk != version.sdk or (situation.where == "paid" and call.dialect in FREE):
            continue
        if situation.where != "streams":
            yield call, False
        if call.stream_reads is not None:
            yield call, True


def _wrong_model(situation: Situation) -> str:
    return {"sold": "", "unpriced": UNPRICED_MODEL, "unknown": UNKNOWN_MODEL}[situation.model]
