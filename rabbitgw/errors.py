"""Every error that crosses a layer of ours, in one tree.

    RabbitError
    ├── CallerError            4xx: the caller can do something about it
    │   ├── AuthError          401  invalid_api_key        no, unknown, expired or revoked key
    │   ├── AccessDenied       403  model_not_allowed      the key may not do this
    │   │   ├── IpNotAllowed   403  ip_not_allowed         not from this address
    │   │   └── ScopeMissing   403  scope_missing          it is for other routes
    │   ├── ModelNotPriced     403  model_not_priced       known upstream, but nobody set a price
    │   ├── NotFound           404  not_found              an id that is not there, or not yours
    │   │   ├── ModelNotFound  404  model_not_found
    │   │   └── RouteNotPriced 404  endpoint_not_priced    a path that we cannot price
    │   ├── RequestInvalid     400  invalid_request        names the field
    │   │   ├── BalanceLimit   400  invalid_request        a wallet cannot hold, or owe, that much
    │   │   └── SignatureInvalid 400 invalid_signature     a webhook that is not the provider's
    │   ├── MethodNotAllowed   405  method_not_allowed     a path that is sold, asked for in another way
    │   ├── Conflict           409  conflict               same id, other content
    │   │   └── TakeShort      409  balance_short          what is to be taken back is spent, or held by calls
    │   ├── BodyTooLarge       413  request_too_large      names the limit
    │   ├── ExpectationFailed  417  expectation_failed     an Expect that is not 100-continue
    │   ├── HeadTooLarge       431  head_too_large         names the limit
    │   ├── RateLimited        429  rate_limit_exceeded    requests, tokens or calls in parallel; says when to come back
    │   └── BudgetError        429  money says no
    │       ├── BalanceShort   429  insufficient_quota     the wallet
    │       └── WindowShort    429  budget_exceeded        a spend window; says when it resets
    ├── UpstreamError          502  upstream_error         the provider side failed
    │   ├── UpstreamRefusedUs  502  upstream_error         it refused *our* key
    │   ├── UpstreamConnectFailed 502                      nothing was sent: worth another upstream
    │   ├── UpstreamCut        502                         the connection broke; says how far both sides got
    │   ├── UpstreamGarbled    502                         what it sent is not HTTP, or is coded unasked
    │   ├── UpstreamTimeout    504  upstream_timeout       may have been billed: not worth a retry
    │   ├── UpstreamBudget     503  upstream_budget        its own budget says no where ours said yes
    │   ├── UpstreamRateLimited 429 rate_limit_exceeded    the provider limits our rate: worth a retry
    │   └── UpstreamOverloaded 503  overloaded
    ├── PaymentError           a payment provider
    │   ├── PaymentRefused     402  payment_refused        it said no, and will say no again
    │   ├── PaymentUnavailable 503  payment_provider_unavailable  no answer, or a bad one: the effect is unknown
    │   └── PaymentsOff        503  payments_off           this provider, or its webhook secret, is not set up
    ├── StoreError             503  service_unavailable    our Redis or PostgreSQL
    │   ├── RedisUnavailable
    │   │   ├── RedisTimeout                               no reply in time: the effect is unknown
    │   │   └── RedisReplyError                            an error reply; `kind` is its first word
    │   ├── PostgresUnavailable
    │   └── Backlog                                        the books are too far behind to admit more
    ├── SettingInvalid         a wrong setting: the start stops with one line
    ├── MigrationRefused       the database's schema and this program do not fit together
    └── InvariantBroken        500  internal_error         false books or a bug; never caught below app.py

Branch on these types, never on message text. A message says what, which id, and numbers with units.
Libraries' own errors are translated where the library is owned (stores.py, redis_link.py, proxy/upstream.py).
"""

from __future__ import annotations

from typing import ClassVar


class RabbitError(Exception):
    """Root. `field` names the request field at fault; `retry_after_s` is set where waiting helps."""

    http_status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    quotes_upstream = False  # the message is upstream's, and may repeat what the caller sent: not for logs

    def __init__(self, message: str, *, field: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s


class CallerError(RabbitError):
    http_status = 400
    code = "invalid_request"


class AuthError(CallerError):
    http_status = 401
    code = "invalid_api_key"


class AccessDenied(CallerError):
    http_status = 403
    code = "model_not_allowed"


class IpNotAllowed(AccessDenied):
    code = "ip_not_allowed"


class ScopeMissing(AccessDenied):
    code = "scope_missing"


class ModelNotPriced(CallerError):
    http_status = 403
    code = "model_not_priced"


class NotFound(CallerError):
    http_status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class RouteNotPriced(NotFound):
    code = "endpoint_not_priced"


class RequestInvalid(CallerError):
    http_status = 400
    code = "invalid_request"


class BalanceLimit(RequestInvalid):
    pass


class SignatureInvalid(RequestInvalid):
    code = "invalid_signature"


class MethodNotAllowed(CallerError):
    """`allowed`: the method that the path has."""

    http_status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class Conflict(CallerError):
    http_status = 409
    code = "conflict"


class TakeShort(Conflict):
    """`available_nanos`: what the wallet had left; may be negative."""

    code = "balance_short"

    def __init__(self, message: str, *, available_nanos: int) -> None:
        super().__init__(message)
        self.available_nanos = available_nanos


class PreconditionFailed(CallerError):
    """What a change was made upon has changed since."""

    http_status = 412
    code = "precondition_failed"


class BodyTooLarge(CallerError):
    http_status = 413
    code = "request_too_large"


class ExpectationFailed(CallerError):
    http_status = 417
    code = "expectation_failed"


class HeadTooLarge(CallerError):
    http_status = 431
    code = "head_too_large"


class RateLimited(CallerError):
    """A rate of the caller is used up. `what`: rpm, tpm, parallel, or tries at codes; `retry_after_s` None: this call
    can never pass.
    `standing`: where they stand with their rates, numbers as the reserve script has them."""

    http_status = 429
    code = "rate_limit_exceeded"

    def __init__(
        self, message: str, *, what: str, retry_after_s: float | None, standing: tuple[int, ...] = ()
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.what = what
        self.standing = standing


class BudgetError(CallerError):
    """`available_nanos`: what the wallet or the window had left; may be negative."""

    http_status = 429
    code = "insufficient_quota"

    def __init__(self, message: str, *, available_nanos: int = 0) -> None:
        super().__init__(message)
        self.available_nanos = available_nanos


class BalanceShort(BudgetError):
    code = "insufficient_quota"


class WindowShort(BudgetError):
    """A spend window is used up. `resets_at_s` is epoch seconds, None for a window that never resets. `by_plan`: it is
    the limit of a plan, whose overflow policy lets nothing more pass."""

    code = "budget_exceeded"

    def __init__(
        self,
        message: str,
        *,
        limit_nanos: int,
        available_nanos: int,
        resets_at_s: int | None,
        by_plan: bool = False,
    ) -> None:
        super().__init__(message, available_nanos=available_nanos)
        self.limit_nanos = limit_nanos
        self.resets_at_s = resets_at_s
        self.by_plan = by_plan


class UpstreamError(RabbitError):
    """`sent`: upstream may have had the whole request. `bytes_seen`: bytes of its answer that came."""

    http_status = 502
    code = "upstream_error"

    def __init__(
        self,
        message: str,
        *,
        sent: bool = True,
        bytes_seen: int = 0,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, field=field, retry_after_s=retry_after_s)
        self.sent = sent
        self.bytes_seen = bytes_seen


class UpstreamRefusedUs(UpstreamError):
    pass


class UpstreamConnectFailed(UpstreamError):
    pass


class UpstreamCut(UpstreamError):
    pass


class UpstreamGarbled(UpstreamError):
    pass


class UpstreamTimeout(UpstreamError):
    http_status = 504
    code = "upstream_timeout"


class UpstreamBudget(UpstreamError):
    http_status = 503
    code = "upstream_budget"


class UpstreamRateLimited(UpstreamError):
    http_status = 429
    code = "rate_limit_exceeded"


class UpstreamOverloaded(UpstreamError):
    http_status = 503
    code = "overloaded"


class PaymentError(RabbitError):
    """`provider_code`: the provider's own word for it."""

    http_status = 502
    code = "payment_provider_error"

    def __init__(self, message: str, *, field: str | None = None, provider_code: str | None = None) -> None:
        super().__init__(message, field=field)
        self.provider_code = provider_code


class PaymentRefused(PaymentError):
    http_status = 402
    code = "payment_refused"


class PaymentUnavailable(PaymentError):
    """`kept`: the provider answers the same call so again, for as long as it keeps what it answered."""

    http_status = 503
    code = "payment_provider_unavailable"

    def __init__(self, message: str, *, provider_code: str | None = None, kept: bool = False) -> None:
        super().__init__(message, provider_code=provider_code)
        self.kept = kept


class PaymentsOff(PaymentError):
    http_status = 503
    code = "payments_off"


class StoreError(RabbitError):
    http_status = 503
    code = "service_unavailable"


class RedisUnavailable(StoreError):
    pass


class RedisTimeout(RedisUnavailable):
    pass


class RedisReplyError(RedisUnavailable):
    """Redis answered with an error. `kind` is its first word: NOSCRIPT, OOM, LOADING, MOVED, ERR ..."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.kind = message.partition(" ")[0]


class PostgresUnavailable(StoreError):
    pass


class Backlog(StoreError):
    pass


class SettingInvalid(RabbitError):
    """A wrong setting. `str(error)` is the one line that names the variable."""


class MigrationRefused(RabbitError):
    """The database's history of migrations is not the beginning of ours. `str(error)` is one line."""


class InvariantBroken(RabbitError):
    """The books would be, or are, false. A bug of the highest rank."""
