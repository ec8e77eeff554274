"""Every figure that /metrics shows: its name, its labels, and the functions by which hot code counts.

Each costs a few hundred nanoseconds, and none is for a chunk of a stream. How the figures of several processes are
added up and written down is scrape.py's.
A label's value is never made by a caller: codes come from errors.py, models are the patterns of the operator's prices,
and both are bounded all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from rabbitgw import errors
from rabbitgw.tally import Counter, Gauge, Histogram

OTHER: Final = "other"
MODELS_MAX: Final = 200  # label values; what comes after them is counted together
KINDS: Final = ("input", "output", "cached_input", "cache_write", "reasoning")
# From a refusal out of memory to the longest answer that anybody waits for.
CALL_SECONDS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0
)  # fmt: skip
STORE_SECONDS: Final = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0
)  # fmt: skip


def _codes(kind: type[errors.RabbitError] = errors.RabbitError) -> Iterator[str]:
    yield kind.code
    for below in kind.__subclasses__():
        yield from _codes(below)


REASONS: Final[tuple[tuple[type[errors.RabbitError], str], ...]] = (
    (errors.BalanceShort, "balance"),
    (errors.WindowShort, "window"),
    (errors.RateLimited, "rate"),
    (errors.Backlog, "backlog"),
    (errors.RedisUnavailable, "redis"),
    (errors.PostgresUnavailable, "postgres"),
    (errors.CallerError, "key"),
)
FAILURES: Final[tuple[tuple[type[errors.RabbitError], str], ...]] = (
    (errors.UpstreamConnectFailed, "connect"),
    (errors.UpstreamCut, "cut"),
    (errors.UpstreamGarbled, "garbled"),
    (errors.UpstreamTimeout, "timeout"),
    (errors.UpstreamRefusedUs, "refused_us"),
    (errors.UpstreamBudget, "budget"),
    (errors.UpstreamRateLimited, "rate_limited"),
    (errors.UpstreamOverloaded, "overloaded"),
)
REDIS_KINDS: Final = ("timeout", "lost", "down", "NOSCRIPT", "OOM", "LOADING", "BUSY", "READONLY", "ERR")

# -- calls --
REQUESTS: Final = Counter(
    "rabbitgw_requests_total", "requests of the data plane that were answered", "dialect", "streamed", "code"
)
DURATION: Final = Histogram(
    "rabbitgw_request_duration_seconds",
    "from the head of a request to the end of its answer, of calls that got a hold",
    "dialect",
    "streamed",
    bounds=CALL_SECONDS,
)
FIRST_BYTE: Final = Histogram(
    "rabbitgw_first_byte_seconds",
    "from the head of a request to the head of upstream's answer, of calls that got a hold",
    "dialect",
    "streamed",
    bounds=CALL_SECONDS,
)
CALLS_OPEN: Final = Gauge(
    "rabbitgw_calls_open", "calls that hold money now", "streamed", known=("true", "false")
)
# -- money --
TOKENS: Final = Counter(
    "rabbitgw_tokens_total", "tokens charged, by the pattern of their price", "model", "kind"
)
CHARGED: Final = Counter(
    "rabbitgw_charged_nanos_total", "charged, in 10^-9 of the currency's unit", "model", "currency"
)
CALLS_CHARGED: Final = Counter(
    "rabbitgw_calls_charged_total", "calls charged, by the source of their usage", "source"
)
HOLDS_REFUSED: Final = Counter(
    "rabbitgw_holds_refused_total",
    "holds that were not granted",
    "reason",
    known=[reason for _, reason in REASONS],
)
SETTLE_SECONDS: Final = Histogram(
    "rabbitgw_settle_seconds",
    "from the end of an answer until Redis or the disk has its charge",
    bounds=STORE_SECONDS,
)
SETTLES_SPOOLED: Final = Counter("rabbitgw_settles_spooled_total", "charges that went to the disk spool")
ENDS_KEPT: Final = Gauge(
    "rabbitgw_ends_kept", "charges and releases that are not in Redis yet and are tried on"
)
SPOOL_RECORDS: Final = Gauge("rabbitgw_spool_records", "charges in the disk spool")
# -- upstream --
UPSTREAM_ATTEMPTS: Final = Counter("rabbitgw_upstream_attempts_total", "requests given to upstream")
UPSTREAM_FAILURES: Final = Counter(
    "rabbitgw_upstream_failures_total",
    "answers of upstream that failed or refused",
    "reason",
    known=[*(reason for _, reason in FAILURES), OTHER],
)
UPSTREAM_CONNECTIONS: Final = Gauge("rabbitgw_upstream_connections", "connections to upstream", "state")
CATALOG_ERRORS: Final = Counter(
    "rabbitgw_catalog_errors_total", "upstream's list of models could not be read"
)
# -- stores --
REDIS_COMMANDS: Final = Counter("rabbitgw_redis_commands_total", "commands that Redis answered")
REDIS_SECONDS: Final = Histogram(
    "rabbitgw_redis_round_trip_seconds",
    "from sending a command to its reply, of a few commands a second",
    bounds=STORE_SECONDS,
)
REDIS_ERRORS: Final = Counter(
    "rabbitgw_redis_errors_total",
    "commands without a reply, and error replies",
    "kind",
    known=(*REDIS_KINDS, OTHER),
)
REDIS_UP: Final = Gauge("rabbitgw_redis_up", "1: every process is connected to Redis", merge="min")
POSTGRES_CONNECTIONS: Final = Gauge("rabbitgw_postgres_connections", "connections to PostgreSQL", "state")
# -- prices --
PRICES: Final = Gauge("rabbitgw_price_book_prices", "prices in force", merge="min")
PRICES_STALE: Final = Gauge(
    "rabbitgw_price_book_stale", "1: a gateway cannot ask for new prices", merge="max"
)
PLANS_STALE: Final = Gauge(
    "rabbitgw_plan_book_stale", "1: a gateway cannot ask for changes of plans", merge="max"
)
# -- the books --
EVENTS_BOOKED: Final = Counter("rabbitgw_consumer_events_total", "usage events booked into the ledger")
EVENTS_WAITING: Final = Gauge(
    "rabbitgw_consumer_backlog_events", "usage events in Redis that are not booked", merge="max"
)
EVENTS_LAG: Final = Gauge(
    "rabbitgw_consumer_lag_seconds", "age of the oldest usage event that is not booked", merge="max"
)
PARTITIONS: Final = Gauge("rabbitgw_consumer_partitions", "partitions that this consumer books")
HOLDS_EXPIRED: Final = Counter("rabbitgw_holds_expired_total", "holds that the sweeper ended")
# -- payments --
CHECKOUTS: Final = Counter("rabbitgw_checkouts_total", "orders made payable", "provider")
PAYMENTS: Final = Counter("rabbitgw_payments_total", "changes of orders to a status", "provider", "status")
PAID: Final = Counter(
    "rabbitgw_payments_received_minor_total", "paid, in the currency's smallest unit", "provider", "currency"
)
REFUNDED: Final = Counter("rabbitgw_refunds_total", "refunds that came to a state", "provider", "state")
WEBHOOKS: Final = Counter(
    "rabbitgw_webhooks_total",
    "webhooks by what became of their delivery: stored, repeated, forged, failed",
    "provider",
    "outcome",
)
PAYMENT_EVENTS: Final = Counter(
    "rabbitgw_payment_events_total",
    "stored events by how they ended: done, ignored, given_up",
    "provider",
    "state",
)
# -- processes --
WORKERS: Final = Gauge("rabbitgw_workers", "gateway processes that serve")
WORKER_DEATHS: Final = Counter("rabbitgw_worker_deaths_total", "gateway processes that ended unasked")
TICK_LATE: Final = Gauge(
    "rabbitgw_tick_late_seconds", "how late a process came to its last tick; a busy one is late", merge="max"
)
LOG_EVENTS: Final = Counter("rabbitgw_log_events_total", "warnings and errors in the log", "level", "event")
BUILD: Final = Gauge("rabbitgw_build_info", "1", "version", "python", merge="max")
CPU: Final = Counter("process_cpu_seconds_total", "user and system time", "worker", lasting=False)
RESIDENT: Final = Gauge("process_resident_memory_bytes", "resident memory", "worker")
FDS: Final = Gauge("process_open_fds", "open file descriptors", "worker")
FDS_MAX: Final = Gauge("process_max_fds", "limit of open file descriptors", "worker")
STARTED: Final = Gauge("process_start_time_seconds", "start, in seconds since the epoch", "worker")

_CODES: Final[dict[str | None, str]] = {
    None: "ok",
    "client_left": "client_left",
    **{code: code for code in sorted(set(_codes()))},
}
_STREAMED: Final = {True: "true", False: "false"}
_sold: dict[tuple[str, str, str], list[int]] = {}  # since the last fold: calls, nanos, tokens of each kind


class Calls:
    """The calls of one dialect and form that got a hold. Hot code adds to it; `fold` brings the metrics up to date."""

    __slots__ = ("_duration", "_first_byte", "attempts", "ok", "open")

    def __init__(self, dialect: str, streamed: str) -> None:
        self.open = 0  # that hold money now
        self.ok = 0  # answered well, since the last fold
        self.attempts = 0  # given to upstream, since the last fold
        self._duration = DURATION.cells(dialect, streamed)
        self._first_byte = FIRST_BYTE.cells(dialect, streamed)

    def ended(self, duration_ms: int) -> None:
        """One is over. A clock that stepped back makes no time negative."""
        self.open -= 1
        self._duration.observe(duration_ms / 1000 if duration_ms > 0 else 0.0)

    def first_byte(self, waited_ms: int) -> None:
        """Upstream had answered."""
        self._first_byte.observe(waited_ms / 1000 if waited_ms > 0 else 0.0)


_calls: dict[tuple[str, bool], Calls] = {}


class Used(Protocol):
    """Usage in tokens; the cached, the written and the reasoning ones are parts of the other two."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cached_input_tokens(self) -> int: ...
    @property
    def cache_write_tokens(self) -> int: ...
    @property
    def reasoning_tokens(self) -> int: ...
    @property
    def source(self) -> str: ...


def answered(dialect: str, streamed: bool, code: str | None, requests: int = 1) -> None:
    """A request has its answer. `code` is the error's, None when it went well; upstream's own are `other`."""
    REQUESTS.add(requests, dialect, _STREAMED[streamed], _CODES.get(code, OTHER))


def calls(dialect: str, streamed: bool) -> Calls:
    found = _calls.get((dialect, streamed))
    if found is None:
        found = _calls[dialect, streamed] = Calls(dialect, _STREAMED[streamed])
    return found


def charged(model: str, currency: str, cost_nanos: int, used: Used) -> None:
    """`model` is the pattern of the price."""
    sums = _sold.get((model, currency, used.source))
    if sums is None:
        sums = _sold[model, currency, used.source] = [0] * (2 + len(KINDS))
    sums[0] += 1
    sums[1] += cost_nanos
    sums[2] += used.input_tokens
    sums[3] += used.output_tokens
    sums[4] += used.cached_input_tokens
    sums[5] += used.cache_write_tokens
    sums[6] += used.reasoning_tokens


def fold() -> None:
    """Bring up to date what hot code keeps beside its metric. Before each look."""
    open_calls = {False: 0, True: 0}
    for (dialect, streamed), found in _calls.items():
        open_calls[streamed] += found.open
        if found.ok:
            answered(dialect, streamed, None, found.ok)
        UPSTREAM_ATTEMPTS.add(found.attempts)
        found.ok = found.attempts = 0
    for streamed, count in open_calls.items():
        CALLS_OPEN.set(count, _STREAMED[streamed])
    for (model, currency, source), sums in _sold.items():
        known = (model, currency) in CHARGED.values or len(CHARGED.values) < MODELS_MAX
        label = model if known else OTHER
        CALLS_CHARGED.add(sums[0], source)
        CHARGED.add(sums[1], label, currency)
        for kind, tokens in zip(KINDS, sums[2:], strict=True):
            if tokens:
                TOKENS.add(tokens, label, kind)
    _sold.clear()


def hold_refused(error: errors.RabbitError) -> None:
    HOLDS_REFUSED.add(1, _word(error, REASONS))


def upstream_failed(error: errors.RabbitError) -> None:
    UPSTREAM_FAILURES.add(1, _word(error, FAILURES))


def redis_failed(kind: str, commands: int = 1) -> None:
    """`kind`: timeout, lost, down, or the first word of an error reply."""
    REDIS_ERRORS.add(commands, kind if kind in REDIS_KINDS else OTHER)


def logged(level: str, event: str) -> None:
    """`event` is a literal of ours."""
    LOG_EVENTS.add(1, level, event)


def _word(error: errors.RabbitError, words: tuple[tuple[type[errors.RabbitError], str], ...]) -> str:
    return next((word for kind, word in words if isinstance(error, kind)), OTHER)
