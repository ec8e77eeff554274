"""Where a caller stands with their rates, as header lines of an answer, in OpenAI's names and forms."""

from __future__ import annotations


def rate_lines(standing: tuple[int, ...]) -> bytes:
    """Those of a Standing (replies.py), ready to be sent; nothing of a kind that no rule limits."""
    limit, left, back_ms, token_limit, tokens_left, tokens_back_ms = standing
    text = ""
    if limit:
        text = _lines("requests", limit, left, back_ms)
    if token_limit:
        text += _lines("tokens", token_limit, tokens_left, tokens_back_ms)
    return text.encode()


def duration(milliseconds: int) -> str:
    """As Go writes one, which is what OpenAI sends: 20ms, 1s, 1.5s, 6m0s, 1h0m0s."""
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest_ms = divmod(milliseconds, 60_000)
    seconds, fraction_ms = divmod(rest_ms, 1000)
    text = f"{seconds}.{fraction_ms:03}".rstrip("0").rstrip(".") + "s"
    if minutes >= 60:
        return f"{minutes // 60}h{minutes % 60}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _lines(kind: str, limit: int, left: int, back_ms: int) -> str:
    return (
        f"x-ratelimit-limit-{kind}: {limit}\r\nx-ratelimit-remaining-{kind}: {left}\r\n"
        f"x-ratelimit-reset-{kind}: {duration(back_ms)}\r\n"
    )
