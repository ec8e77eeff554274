"""The rules of rates, said once more in plain Python: GCRA of requests and of tokens, and a count of calls under way.

Written from the rules and not from the Lua. Times are whole microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rabbitgw.prepared import RateCheck
from rabbitgw.replies import RateRefusal, RateWord, Standing

MINUTE_US = 60_000_000
DAY_US = 24 * 60 * MINUTE_US


def request_us(rpm: int) -> int:
    return -(-MINUTE_US // rpm)


def token_us(tokens: int, tpm: int) -> int:
    return min(tokens * MINUTE_US // tpm, DAY_US)


@dataclass
class RatesModel:
    requests: dict[int, int] = field(default_factory=dict)  # by rule: when all of them are back
    tokens: dict[int, int] = field(default_factory=dict)
    parallel: dict[int, int] = field(default_factory=dict)

    def requests_out_us(self, rate: RateCheck, now_ms: int) -> int:
        return min(
            max(self.requests.get(rate.rate_id, 0) - now_ms * 1000, 0), rate.rpm * request_us(rate.rpm)
        )

    def tokens_out_us(self, rate: RateCheck, now_ms: int) -> int:
        return max(self.tokens.get(rate.rate_id, 0) - now_ms * 1000, 0)

    def refusal(self, rates: Sequence[RateCheck], tokens: int, now_ms: int) -> RateRefusal | None:
        """The rule that takes longest, the first of several; one that never lets the call pass takes longest."""
        found: list[tuple[float, int, RateWord, int]] = []
        for at, rate in enumerate(rates):
            if rate.rpm:
                each = request_us(rate.rpm)
                over = self.requests_out_us(rate, now_ms) + each - rate.rpm * each
                if over > 0:
                    found.append((-(-over // 1000), at, "rpm", rate.rpm))
            if rate.tpm and tokens:
                over = self.tokens_out_us(rate, now_ms) + token_us(tokens, rate.tpm) - MINUTE_US
                if tokens > rate.tpm:
                    found.append((float("inf"), at, "tpm", rate.tpm))
                elif over > 0:
                    found.append((-(-over // 1000), at, "tpm", rate.tpm))
            if rate.parallel and self.parallel.get(rate.rate_id, 0) >= rate.parallel:
                found.append((1000, at, "parallel", rate.parallel))
        if not found:
            return None
        wait_ms, at, what, limit = max(found, key=lambda refusal: refusal[0])
        return RateRefusal(at, what, limit, -1 if wait_ms == float("inf") else int(wait_ms))

    def take(self, rates: Sequence[RateCheck], tokens: int, now_ms: int) -> str:
        kept = []
        for rate in rates:
            if rate.rpm:
                out_us = self.requests_out_us(rate, now_ms) + request_us(rate.rpm)
                self.requests[rate.rate_id] = now_ms * 1000 + out_us
            if rate.tpm:
                out_us = self.tokens_out_us(rate, now_ms) + token_us(tokens, rate.tpm)
                self.tokens[rate.rate_id] = now_ms * 1000 + out_us
            if rate.parallel:
                self.parallel[rate.rate_id] = self.parallel.get(rate.rate_id, 0) + 1
            if rate.tpm or rate.parallel:
                kept.append(f"{rate.rate_id}:{rate.tpm}:{int(rate.parallel > 0)}")
        return ",".join([str(tokens), *kept]) if kept else ""

    def standing(self, rates: Sequence[RateCheck], now_ms: int) -> Standing | None:
        if not rates:
            return None
        requests, tokens = [], []
        for rate in rates:
            if rate.rpm:
                out_us, each = self.requests_out_us(rate, now_ms), request_us(rate.rpm)
                requests.append((rate.rpm, (rate.rpm * each - out_us) // each, -(-out_us // 1000)))
            if rate.tpm:
                out_us = self.tokens_out_us(rate, now_ms)
                left = max((MINUTE_US - out_us) * rate.tpm // MINUTE_US, 0)
                tokens.append((rate.tpm, left, -(-out_us // 1000)))
        tightest = [min(each, key=lambda one: one[1]) if each else (0, 0, 0) for each in (requests, tokens)]
        return Standing(*tightest[0], *tightest[1])

    def give_back(self, kept: str, tokens: int | None) -> None:
        """At an end. `tokens`: used in truth; None: not known."""
        taken, *rules = kept.split(",")
        for rule in rules:
            rate_id, tpm, parallel = map(int, rule.split(":"))
            if parallel:
                self.parallel[rate_id] -= 1
                assert self.parallel[rate_id] >= 0
            if tpm and tokens is not None:
                self.tokens[rate_id] += token_us(tokens, tpm) - token_us(int(taken), tpm)

    def fields(self) -> dict[str, str]:
        """As they stand in the account's hash."""
        kinds = {"r": self.requests, "t": self.tokens, "p": self.parallel}
        return {f"{kind}:{rate_id}": str(n) for kind, by_id in kinds.items() for rate_id, n in by_id.items()}
