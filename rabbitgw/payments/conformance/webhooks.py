"""Checks of webhooks and events: what is genuine is understood, and nothing else is believed.

Each check is one rule of the contract; its docstring is the rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from rabbitgw.errors import RequestInvalid, SignatureInvalid
from rabbitgw.payments.conformance.world import (
    Check,
    Trait,
    Webhook,
    World,
    checks,
    demand,
    listed,
    now,
    refusal,
)
from rabbitgw.payments.contract import PaymentEvent

CHECKS: list[Check] = []
ID_CHARS_MAX = 255
BODY_PLACES = 40  # where a byte of a body is changed
NO_TEXT = b"\xff\xfe"
MARGIN_S = 60  # a machine may be slow


@checks(CHECKS)
async def a_genuine_webhook_names_its_payment(world: World) -> None:
    """What is told of a payment is understood, alike each time and in every process, and leads to the payment."""
    order, made = await world.paid()
    other = world.another()
    try:
        events = []
        for webhook in await world.told(order, made):
            event = await world.provider.handle_webhook(webhook.headers, webhook.body)
            again = await other.handle_webhook(webhook.headers, webhook.body)
            demand(again.event_id == event.event_id, f"one message has two ids: {event!r}, {again!r}")
            _well_formed(world, event)
            events.append(event)
    finally:
        await other.close()
    demand(len({event.event_id for event in events}) == len(events), "two messages have one event_id")
    wanted = [event for event in events if event.wanted]
    demand(bool(wanted), f"nothing that was told of a payment is wanted: {events!r}")
    for event in wanted:
        demand(event.provider_txn_id is not None, f"a wanted event names its payment: {event!r}")
        demand(event.order_id in (None, order.order_id), f"{event!r} is about {order.order_id}")
        status = await world.provider.query(str(event.provider_txn_id))
        demand(status.order_id == order.order_id, f"{event!r} leads to order {status.order_id}")


@checks(CHECKS)
async def a_webhook_that_is_not_genuine_is_refused(world: World) -> None:
    """With a signature missing, changed by one character, or another message's, a webhook is refused without effect."""
    order, made = await world.paid()
    before = await world.status(made)
    webhooks = await world.told(order, made)
    for why, forged in _forgeries(world, webhooks[-1], webhooks[0]):
        await refusal(
            f"a webhook {why}", world.provider.handle_webhook(forged.headers, forged.body), SignatureInvalid
        )
    demand(await world.status(made) == before, "a forged webhook changed something")


def _forgeries(world: World, genuine: Webhook, other: Webhook) -> Iterator[tuple[str, Webhook]]:
    headers, body = genuine
    names = world.signature_headers
    bare = {name: value for name, value in headers.items() if name not in names}
    if names:
        yield "without a signature", Webhook(bare, body)
    for name in names:
        value = headers[name]
        for wrong in ("", " ", "x", "\udcff", "0" * 5000, *(_changed(value, at) for at in range(len(value)))):
            yield f"whose {name} is wrong", Webhook({**bare, name: wrong}, body)
    if Trait.SIGNS_BODY not in world.traits:
        return
    step = max(1, len(body) // BODY_PLACES)
    for at in (*range(0, len(body), step), len(body) - 1):
        yield (
            f"whose byte {at} was changed",
            Webhook(headers, body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]),
        )
    for wrong_body in (b"", body[:-1], body + b" ", body + body):
        yield "of which a part was cut off or added", Webhook(headers, wrong_body)
    if names and other.body != body:
        yield "with another message's signature", Webhook(other.headers, body)


def _changed(text: str, at: int) -> str:
    return text[:at] + ("y" if text[at] == "x" else "x") + text[at + 1 :]


@checks(CHECKS, Trait.SIGNS_TIME)
async def an_old_webhook_is_refused(world: World) -> None:
    """What was signed longer ago than the tolerance is refused: somebody may have kept it."""
    order, made = await world.paid()
    message = (await world.messages(order, made))[-1]
    age = timedelta(seconds=world.webhook_age_max_s)
    young = world.sign(message, now() - age + timedelta(seconds=MARGIN_S))
    await world.provider.handle_webhook(young.headers, young.body)
    old = world.sign(message, now() - age - timedelta(seconds=2))
    await refusal("an old webhook", world.provider.handle_webhook(old.headers, old.body), SignatureInvalid)


@checks(CHECKS)
async def a_genuine_webhook_without_sense_is_a_bad_request(world: World) -> None:
    """What is signed and no message is refused as RequestInvalid: it is no forgery, and breaks nothing."""
    for message in (b"", b"x", b"null", b"[]", b"{}", b'"x"', b'{"id":', b"[" * 100_000, NO_TEXT):
        webhook = world.sign(message, now())
        doing = f"a signed webhook of {message[:20]!r}"
        call = world.provider.handle_webhook(webhook.headers, webhook.body)
        # where text is signed, this cannot have been
        await refusal(doing, call, RequestInvalid, never=() if message is NO_TEXT else (SignatureInvalid,))


@checks(CHECKS, Trait.OTHER_EVENTS)
async def what_is_no_payment_is_understood_and_not_wanted(world: World) -> None:
    """A genuine message about something else is an event that nothing is made of."""
    webhook = world.sign(world.other_message(), now())
    event = await world.provider.handle_webhook(webhook.headers, webhook.body)
    _well_formed(world, event)
    demand(not event.wanted, f"a message about no payment is wanted: {event!r}")


@checks(CHECKS, Trait.KEEPS_EVENTS)
async def events_are_those_that_webhooks_told(world: World) -> None:
    """`events` yields what `handle_webhook` understood, since a time; nothing is since the future."""
    since = now() - timedelta(minutes=1)
    order, made = await world.paid()
    told = {}
    for webhook in await world.told(order, made):
        event = await world.provider.handle_webhook(webhook.headers, webhook.body)
        if event.wanted:
            told[event.event_id] = event
    kept = await listed(world.provider.events(since))
    found = {one.event.event_id: one.event for one in kept if one.event.event_id in told}
    demand(found == told, f"webhooks told {told!r}, events yields {found!r}")
    demand(all(isinstance(one.body, bytes) and one.body for one in kept), "an event has its bytes")
    demand(not await listed(world.provider.events(now() + timedelta(days=2))), "events are since the time")


@checks(CHECKS)
async def events_can_always_be_asked_for(world: World) -> None:
    """A provider that keeps no events yields none."""
    found = await listed(world.provider.events(now() - timedelta(days=1)))
    demand(
        Trait.KEEPS_EVENTS in world.traits or not found, f"the world says that it keeps no events: {found!r}"
    )


def _well_formed(world: World, event: PaymentEvent) -> None:
    for name, said in (("event_id", event.event_id), ("type", event.type)):
        demand(
            1 <= len(said) <= ID_CHARS_MAX,
            f"{name} has 1 to {ID_CHARS_MAX} characters: {event!r}",
        )
    demand(event.livemode == world.provider.livemode, f"livemode is the provider's: {event!r}")
    demand(event.made_at is None or event.made_at.tzinfo is not None, f"made_at has a time zone: {event!r}")
