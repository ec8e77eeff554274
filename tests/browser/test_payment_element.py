"""The demo page as a person sees it, in headless Chromium: the gateway's page, a stand-in for stripe.js.

What must hold of every visit (no error in the console, the key nowhere but in its header …) is checked at the end of
each, in `Visit.check`.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.visit import KEY, PUBLISHABLE_KEY, REFUSED, Reply, Visit
from tests.fakes.stripe import FakeStripe
from tests.flows.house import House, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHECKOUT = "POST /v1/payments/checkout"
CONFIG = "GET /v1/config/stripe"
STATUS = "GET /v1/payments/status"
PAID = "Paid: 10.00 USD. The credit is in the wallet."
ASK_KEY = "Enter the API key and press “Look again” to see how the order stands."
NO_STRIPE = (
    "stripe.js could not be loaded from js.stripe.com, so nothing can be paid here. "
    "Check the connection and what blocks scripts, then reload this page."
)

NO_PK = "The gateway has no publishable key: set STRIPE_PUBLISHABLE_KEY, or add pk=pk_test_… to this page’s address."
WRONG_PK = "The publishable key must begin with pk_test_ or pk_live_."

TYPE_AMOUNTS = """(cases) => cases.map(([code, text]) => {
    currency.value = code;
    amount.value = text;
    amount.dispatchEvent(new Event("input", { bubbles: true }));
    return amount_hint.textContent;
})"""


def refusal(status: int, code: str, message: str, field: str | None = None) -> Reply:
    return Reply({"error": {"code": code, "message": message, "field": field}, "request_id": "r-7"}, status)


def paying(stripe: FakeStripe, method: str = "card") -> Any:
    """What a customer does who pays: at Stripe, so that it is Stripe who tells the gateway."""

    async def confirmed(intent_id: str, return_url: str) -> dict[str, Any]:
        intent = await stripe.pay(intent_id, method=method)
        if method == "card":
            return {"paymentIntent": {"status": intent["status"]}}
        await stripe.finish_redirect(intent_id)
        told = f"payment_intent_client_secret={intent['client_secret']}&redirect_status=succeeded"
        return {"redirect": f"{return_url}&payment_intent={intent_id}&{told}"}

    return confirmed


async def test_from_an_order_to_paid(visit: Visit, stripe: FakeStripe, house: House) -> None:
    before = (await house.wallet())["balance_nanos"]
    visit.outcome = paying(stripe)
    await visit.open(key=KEY)
    assert visit.page.url == visit.own()
    await visit.order()
    assert visit.body(CHECKOUT) == {"user_id": 1, "amount_cents": 1000, "currency": "USD"}
    assert {one.headers["x-api-key"] for one in visit.sent(CHECKOUT) + visit.sent(CONFIG)} == {KEY}
    await visit.press("Pay 10.00 USD")
    await visit.says("state", PAID)
    await expect(visit.page.locator("#order_status")).to_have_text("paid")
    order_id = await visit.page.locator("#order_id").inner_text()
    assert visit.page.url == visit.own(order_id=order_id)
    given = await visit.stand_in()
    assert given["address"] == visit.own(), "stripe.js reads the address, so it comes after the key has gone"
    (element,), (confirmed,) = given["elements"], given["confirmed"]
    assert element["publishableKey"] == PUBLISHABLE_KEY
    assert confirmed == {
        "confirmParams": {"return_url": visit.own(order_id=order_id)},
        "redirect": "if_required",
    }
    await until_balance(house, before + 10_000_000_000)


async def until_balance(house: House, nanos: int) -> None:
    async def there() -> bool:
        return (await house.wallet())["balance_nanos"] == nanos

    await until(there)


async def test_amounts_are_in_the_smallest_unit_of_their_currency(visit: Visit) -> None:
    await visit.open(key=KEY)
    cases = {
        **{
            (currency, amount): f"Sent as amount_cents {cents}, the currency’s smallest unit."
            for currency, amount, cents in (("USD", "0.5", 50), ("jpy", "500", 500), ("KWD", "1.234", 1234))
        },
        **{
            (currency, amount): f"Amount: a number like {like}, above zero."
            for currency, amount, like in (
                ("JPY", "1.5", "10"),
                ("KWD", "1.2345", "10.000"),
                *(
                    ("USD", amount, "10.00")
                    for amount in ("1,000", "0.00", "-1", "1e3", "", "٣", "1.", "1.001")
                ),
            )
        },
    }
    assert await visit.page.evaluate(TYPE_AMOUNTS, list(cases)) == list(cases.values())
    await visit.press("Start checkout")
    await visit.says("problem", "Amount: a number like 10.00, above zero.")
    await expect(visit.page.locator("#amount")).to_have_attribute("aria-invalid", "true")
    await expect(visit.page.locator("#amount")).to_be_focused()
    await visit.fill(amount="10", currency="US")
    await visit.press("Start checkout")
    await visit.says("problem", "Currency: three letters like USD.")
    await visit.fill(currency="USD", user="me")
    await visit.press("Start checkout")
    await visit.says("problem", "User id: a whole number, or nothing.")
    assert visit.sent(CHECKOUT) == []


async def test_a_credit_package(visit: Visit, stripe: FakeStripe, house: House) -> None:
    before = (await house.wallet())["balance_nanos"]
    visit.outcome, visit.keys = paying(stripe), [house.secret]
    await visit.open(key=house.secret)
    await visit.page.get_by_label("A credit package").check()
    await expect(visit.page.locator("#by_amount, #by_user").filter(visible=True)).to_have_count(0)
    await visit.page.get_by_label("Package", exact=True).select_option("500 credits: 45 USD (−10 %)")
    await visit.order()
    assert visit.body("POST /billing/create-payment-intent") == {"credit_amount": 500}
    await visit.press("Pay for 500 credits")
    await visit.says("state", "Paid: 45.00 USD. The credit is in the wallet.")
    await until_balance(house, before + 50_000_000_000)


async def test_a_caller_pays_with_a_key_that_was_typed(visit: Visit, house: House) -> None:
    """And with the publishable key from the address; there are no packages."""
    visit.keys = [house.secret]
    visit.answers("GET /billing/credit-packages", {"packages": []})
    await visit.open(pk="pk_test_mine")
    await expect(visit.page.get_by_label("A credit package")).to_be_disabled()
    await visit.fill(key=house.secret, amount="0.75", user="")
    await visit.order()
    assert visit.body(CHECKOUT) == {"amount_cents": 75, "currency": "USD"}
    assert visit.sent(CONFIG) == []
    await expect(visit.page.locator("#pay")).to_have_text("Pay 0.75 USD")
    assert (await visit.stand_in())["elements"][0]["publishableKey"] == "pk_test_mine"
    assert visit.page.url == visit.own(pk="pk_test_mine")


async def test_stripe_js_cannot_load(visit: Visit) -> None:
    visit.expected = REFUSED
    for visit.stripe_js in (None, "// another script"):
        await visit.open(key=KEY)
        await visit.says("problem", NO_STRIPE)
    await visit.press("Start checkout")
    await visit.says("problem", NO_STRIPE)
    assert visit.sent(CHECKOUT) == [], "an order that nobody can pay"


async def test_the_gateway_answers_an_error(visit: Visit) -> None:
    visit.expected = REFUSED
    await visit.open(key=KEY)
    small = refusal(400, "invalid_request", "amount_cents: at least 50 for USD", "amount_cents")
    invalid = visit.page.locator("[aria-invalid]")
    for reply, said, fields in (
        (small, "amount_cents: at least 50 for USDinvalid_request · request id r-7", 1),
        (refusal(401, "invalid_api_key", "no such key"), "no such keyinvalid_api_key · request id r-7", 0),
        (Reply({}, 502), "The gateway answered with status 502.status 502", 0),
        (None, f"{visit.base_url} cannot be reached.", 0),
        (
            Reply({"type": "redirect_url"}),
            "The gateway offers a redirect_url, which this page cannot show.",
            0,
        ),
    ):
        visit.answers(CHECKOUT, reply)
        await visit.press("Start checkout")
        await visit.says("problem", said)
        await expect(invalid).to_have_count(fields)
    visit.sells()
    await visit.order()
    await expect(visit.page.locator("#problem")).to_be_hidden()


async def test_another_gateway_that_does_not_allow_this_page(visit: Visit) -> None:
    other = visit.base_url.replace("127.0.0.1", "localhost")
    visit.also = f"{other}/"
    visit.expected = ("Access to fetch at", REFUSED)
    await visit.open(key=KEY, api=f"{other}/")
    await expect(visit.page.locator("#api")).to_have_text(other)
    await visit.press("Start checkout")
    here = f"It is not where this page is from ({visit.base_url}); then it must allow that."
    await visit.says("problem", f"{other} cannot be reached. {here}")


async def test_no_publishable_key(visit: Visit) -> None:
    await visit.open(key=KEY)
    visit.expected = REFUSED
    for reply, said in (
        (refusal(503, "payments_off", "off"), f"{NO_PK}payments_off · request id r-7"),
        (refusal(503, "service_unavailable", "away"), "awayservice_unavailable · request id r-7"),
        (Reply({"publishable_key": "sk_test_secret"}), WRONG_PK),
    ):
        visit.answers(CONFIG, reply)
        await visit.press("Start checkout")
        await visit.says("problem", said)
    await visit.open(key="schlüssel", pk="sk_test_secret")
    assert visit.page.url == visit.own()
    await visit.press("Start checkout")
    await visit.says("problem", WRONG_PK)
    visit.replies.clear()
    await visit.open(key="schlüssel")
    await visit.press("Start checkout")
    await visit.says("problem", "The API key has characters that no key has.")
    assert visit.sent(CHECKOUT) == []


async def test_a_declined_card_can_be_followed_by_another(visit: Visit) -> None:
    visit.sells()
    visit.stands("paid")
    declined = {"code": "card_declined", "decline_code": "insufficient_funds", "message": "No funds."}
    visit.outcome = {"error": declined}
    await visit.open(key=KEY)
    await visit.order()
    await visit.press("Pay")
    await visit.says("problem", "No funds.insufficient_funds")
    await expect(visit.page.locator("#state")).to_be_hidden()
    assert visit.sent(STATUS) == []
    visit.outcome = {"paymentIntent": {"status": "succeeded"}}
    await visit.press("Pay")
    await visit.says("state", PAID)
    await expect(visit.page.locator("#problem")).to_be_hidden()


async def test_an_element_that_stripe_does_not_draw(visit: Visit) -> None:
    visit.sells()
    visit.mounts = {"type": "invalid_request_error", "message": "No such payment_intent"}
    await visit.open(key=KEY)
    await visit.press("Start checkout")
    await visit.says("problem", "No such payment_intentinvalid_request_error")
    await expect(visit.page.locator("#pay")).to_be_disabled()
    visit.mounts = None
    await visit.press("Start over")
    await expect(visit.page.locator("#problem")).to_be_hidden()
    await visit.order()
    await expect(visit.page.get_by_label("Card number")).to_have_count(1)


async def test_back_from_a_redirect(visit: Visit, stripe: FakeStripe) -> None:
    visit.outcome = paying(stripe, "alipay")
    await visit.open(key=KEY, pk="pk_test_mine", api=visit.base_url)
    await visit.order()
    await visit.press("Pay")
    await visit.says("state", f"You are back from the payment. Stripe says that it succeeded. {ASK_KEY}")
    order_id = await visit.page.locator("#order_id").inner_text()
    assert visit.page.url == visit.own(api=visit.base_url, pk="pk_test_mine", order_id=order_id)
    await expect(visit.page.locator("#key")).to_have_value("")
    assert visit.sent(STATUS) == []
    await visit.fill(key=KEY)
    await visit.press("Look again")
    await visit.says("state", PAID)
    assert {one.headers["x-api-key"] for one in visit.sent(STATUS)} == {KEY}
    await visit.press("Buy more")
    assert visit.page.url == visit.own(api=visit.base_url, pk="pk_test_mine")
    await expect(visit.page.locator("#order")).to_be_visible()


async def test_each_way_back_and_each_state_has_its_words(visit: Visit) -> None:
    for status, words in (
        ("failed", "Stripe says that it did not succeed; nothing was charged."),
        ("canceled", "It was canceled; nothing was charged."),
        ("pending", "Stripe does not know yet how it ends."),
    ):
        await visit.open(order_id="<b>o&1</b>", redirect_status=status)
        await visit.says("state", f"You are back from the payment. {words} {ASK_KEY}")
        await expect(visit.page.locator("#order_id")).to_have_text("<b>o&1</b>")
    await visit.fill(key=KEY)
    for status, words in (
        ("paid", PAID),
        (
            "needs_review",
            "The payment does not match the order, so a person has to look at it. The wallet was not credited.",
        ),
        ("failed", "The payment failed; nothing was charged."),
        ("canceled", "The order was canceled; nothing was charged."),
        ("partially_refunded", "2.50 USD of 10.00 USD was refunded."),
        ("refunded", "10.00 USD was refunded."),
        ("disputed", "The payment is disputed at the bank."),
        ("unheard_of", "The order is unheard_of."),
    ):
        visit.stands(status, refunded_cents=250)
        await visit.press("Look again")
        await visit.says("state", words)
    assert [one.url.partition("=")[2] for one in visit.sent(STATUS)] == ["%3Cb%3Eo%261%3C%2Fb%3E"] * 8


async def test_an_order_that_does_not_move_is_not_followed_for_ever(timed_visit: Visit) -> None:
    visit = timed_visit
    visit.expected = REFUSED
    visit.stands("created", "awaiting_payment", "processing")
    await visit.open(key=KEY, order_id="o-1")
    words = {
        "created": "The order is made; nothing has been paid.",
        "awaiting_payment": "Waiting for the payment.",
        "processing": "The payment is under way. Some ways to pay take days.",
    }
    for text in words.values():
        await visit.says("state", text)
        await visit.page.clock.run_for(5000)
    for _ in range(1000):
        await visit.page.clock.run_for(5000)
        if len(visit.sent(STATUS)) == 40:
            break
    late = "Stripe’s message to the gateway may be late: look again later."
    await visit.says("state", f"The order has not moved for a while. {late}")
    await visit.page.clock.run_for(60_000)
    assert len(visit.sent(STATUS)) == 40
    visit.answers(STATUS, refusal(503, "service_unavailable", "our PostgreSQL is away"))
    await visit.press("Look again")
    await visit.says("problem", "our PostgreSQL is awayservice_unavailable · request id r-7")


async def test_every_step_can_be_read_aloud_and_on_a_phone(visit: Visit) -> None:
    visit.sells(order_id="o-" + "1" * 60)
    visit.stands("paid")
    await visit.page.set_viewport_size({"width": 320, "height": 560})
    await visit.open(key=KEY)
    await _readable(visit, "What to buy")
    await visit.order()
    await _readable(visit, "Pay")
    await visit.press("Pay")
    await visit.says("state", PAID)
    await _readable(visit, "The order")
    roles = await visit.page.evaluate("['problem', 'state'].map((id) => document.getElementById(id).role)")
    assert roles == ["alert", "status"]


async def _readable(visit: Visit, title: str) -> None:
    """Every field has a name, nothing is cut off at the side, and after a step the focus is on its title."""
    shown: dict[str, Any] = await visit.page.evaluate(
        """() => ({
            nameless: [...document.querySelectorAll("input, select")]
                .filter((one) => !one.labels.length && !one.ariaLabel).map((one) => one.id),
            wide: document.documentElement.scrollWidth - innerWidth,
            lang: document.documentElement.lang,
            focus: document.activeElement.textContent,
        })"""
    )
    assert (shown["nameless"], shown["wide"] <= 0, shown["lang"]) == ([], True, "en")
    assert title == "What to buy" or re.fullmatch(rf"\d\. {title}", shown["focus"])
