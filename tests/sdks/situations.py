"""The situations in which a call is refused or breaks, each a real one: a key, a wallet, a store or an upstream.

Data only: expected.py says what each SDK must make of them, houses.py builds the houses they happen in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes.openai_upstream import HTML, Answer, Drop, Hang, Raw, Refuse, Script, usage
from tests.sdks.calls import CALLS, RESPONSES, UNSOLD, Call

House = Literal["main", "balance-402", "hasty", "no-store"]
Key = Literal["good", "none", "unknown", "revoked", "expired", "narrow", "day-used", "poor", "thin"]
Model = Literal["sold", "unpriced", "unknown"]
Where = Literal["everywhere", "streams", "paid"]

BODY_BYTES_MAX = 400_000
CALLER_TIMEOUT_S = 3.0  # so long that a busy machine still gets the head of a stream through
SOON = {"retry-after": "0.05"}  # the gateway passes it on as retry-after-ms: 50
# For each dialect something of the answer, so that its bytes pass as they come.
HALF_AN_EVENT = b'event: half\ndata: {"choices": [{"index": 0, "delta": {"content": "Hel'
LONG = Answer(chunks=("tok ",) * 400, usage=usage(5, 400))


@dataclass(frozen=True)
class Situation:
    """`text` is its row in the table. `script` None: upstream must not be asked.

    body: members that are added to the request's. options: of the SDK's client. calls: that can get into it.
    where: "streams" breaks after the answer has begun; "paid" leaves out what costs nothing.
    upstream_sees: whether each POST goes on to upstream.
    """

    name: str
    text: str
    house: House = "main"
    key: Key = "good"
    model: Model = "sold"
    script: Script | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    where: Where = "everywhere"
    calls: Sequence[Call] = CALLS

    @property
    def upstream_sees(self) -> bool:
        return self.script is not None


SITUATIONS = (
    # who asks
    Situation("no-key", "no key", key="none"),
    Situation("unknown-key", "unknown key", key="unknown"),
    Situation("revoked-key", "revoked key", key="revoked"),
    Situation("expired-key", "expired key", key="expired"),
    Situation(
        "two-keys",
        "two different keys in one request",
        headers={"Authorization": "Bearer rk-one", "X-Api-Key": "rk-another"},
    ),
    Situation("model-not-allowed", "the key may not call this model", key="narrow"),
    # what is asked
    Situation("unknown-model", "unknown model", model="unknown"),
    Situation("unpriced-model", "model without a price", model="unpriced"),
    Situation("routing-field", "a field that the gateway decides", body={"api_base": "http://elsewhere"}),
    Situation("litellm-header", "a header that the gateway decides", headers={"x-litellm-tags": "a"}),
    Situation("unsold-path", "a path that is not sold", calls=UNSOLD),
    Situation("background", "`background`", body={"background": True}, calls=[RESPONSES]),
    Situation(
        "previous-response",
        "`previous_response_id`",
        body={"previous_response_id": "resp_1"},
        calls=[RESPONSES],
    ),
    Situation("body-too-large", "body too large", body={"padding": {"$repeat": ["x", BODY_BYTES_MAX]}}),
    # money
    Situation("no-balance", "no balance", key="poor", where="paid"),
    Situation(
        "no-balance-402",
        "no balance, with `RABBITGW_BALANCE_STATUS=402`",
        house="balance-402",
        key="poor",
        where="paid",
    ),
    Situation("day-used", "the key's daily budget is used", key="day-used", where="paid"),
    Situation(
        "money-ends",
        "the money ends in mid-stream",
        key="thin",
        script=LONG,
        body={"max_tokens": 1000},
        where="streams",
    ),
    # our stores
    Situation("no-store", "our Redis is down", house="no-store"),
    # upstream, before an answer
    Situation("upstream-invalid", "upstream refuses the request", script=Refuse(400)),
    Situation("upstream-rate", "upstream limits the rate", script=Refuse(429, headers=SOON)),
    Situation("upstream-key", "upstream refuses our key", script=Refuse(401)),
    Situation(
        "upstream-budget",
        "upstream's own budget is used up",
        script=Refuse(400, {"error": {"message": "over", "type": "budget_exceeded"}}),
    ),
    Situation("upstream-overloaded", "upstream is overloaded", script=Refuse(503, headers=SOON)),
    Situation("upstream-fails", "upstream fails with 500", script=Refuse(500)),
    Situation("upstream-html", "upstream sends an HTML page", script=HTML),
    Situation("upstream-hangs-up", "upstream hangs up without a word", script=Drop()),
    Situation("upstream-timeout", "upstream is silent", house="hasty", script=Hang()),
    # upstream, in mid-answer
    Situation(
        "stream-error", "upstream breaks off with an error", script=Answer(fail_after=2), where="streams"
    ),
    Situation("stream-cut", "upstream's connection breaks", script=Answer(cut_after=2), where="streams"),
    Situation(
        "stream-torn",
        "upstream's connection breaks within an event",
        script=Raw([HALF_AN_EVENT], cut=True),
        where="streams",
    ),
    # the caller's own
    Situation(
        "caller-timeout",
        "the caller's own timeout",
        script=Answer(delay_s=3 * CALLER_TIMEOUT_S),
        options={"timeout": CALLER_TIMEOUT_S},
    ),
)
