"""Payment providers are found where packages are installed; one that is no good stops the start with one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rabbitgw.config import Settings
from rabbitgw.errors import NotFound, PaymentsOff, SettingInvalid
from rabbitgw.payments.conformance.world import now
from rabbitgw.payments.contract import PaymentProvider
from rabbitgw.payments.events import receive_webhook
from rabbitgw.payments.registry import Providers
from rabbitgw.payments.till import Payments
from rabbitgw.redis_link import RedisLink
from rabbitgw.stores import Pool
from tests.payments.harbour_world import NO_POOL, PACKAGE, URL, HarbourWorld, installed
from tests.payments.shop import DOLLAR, PaymentShop

BANK = """
class Bank:
    livemode = True
    def check_order(self, order): pass
    async def create_payment(self, order): pass
    async def resume(self, provider_txn_id): pass
    async def handle_webhook(self, headers, body): pass
    async def refund(self, provider_txn_id, amount, reason, *, refund_id): pass
    async def query(self, provider_txn_id): pass
    def events(self, since): pass
    async def check(self): pass
    async def close(self): pass

def make(context):
    bank = Bank()
    bank.name = "bank"
    return bank
"""


def package(
    folder: Path, code: str = BANK, entry: str = "bank = bank_of_a_test:make", name: str = "bank"
) -> Path:
    """A folder with a package that is installed there."""
    metadata = folder / f"{name}-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[rabbitgw.payment_providers]\n{entry}\n")
    (folder / f"{name}_of_a_test.py").write_text(code)
    return folder


def load(environ: dict[str, str] | None = None) -> Providers:
    return Providers.load(Settings.load(), NO_POOL, environ or {})


def test_a_package_that_is_installed_adds_a_provider(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as refused:
        load().get("bank")
    assert (refused.value.http_status, refused.value.field) == (404, "provider")
    with installed(package(tmp_path)):
        providers = load()
        assert providers.names == ["bank"]
        assert isinstance(providers.get("bank"), PaymentProvider)
    assert load().names == []


def test_what_is_installed_and_not_set_up_is_off() -> None:
    with installed(PACKAGE):
        providers = load()
        for name in ("harbour", "manual", "stripe"):
            with pytest.raises(PaymentsOff, match=f"the payment provider {name} is not set up") as refused:
                providers.get(name)
            assert (refused.value.http_status, refused.value.code) == (503, "payments_off")


@pytest.mark.parametrize("name", ["", "Stripe", "bank\nof", "x" * 40, "../stripe"])
def test_a_name_that_no_provider_can_have_is_not_repeated(name: str) -> None:
    with pytest.raises(NotFound, match=r"^there is no payment provider of this name$"):
        load().get(name)


LACKING = BANK.replace("    async def resume(self, provider_txn_id): pass\n", "")


@pytest.mark.parametrize(
    ("code", "entry", "line"),
    [
        ("import nowhere", {}, "cannot be loaded: ModuleNotFoundError: No module named 'nowhere'"),
        ("def make(:", {}, r"cannot be loaded: SyntaxError: .*"),
        ("x = 1", {}, r"cannot be loaded: AttributeError: .*make.*"),
        ("make = 1", {}, "cannot be loaded: TypeError: 'int' object is not callable"),
        ("def make(context): raise KeyError('of\\nthe\\nbank')", {}, r"cannot be loaded: KeyError: 'of\\nthe\\nbank'"),
        ("def make(context): raise ValueError('of\\nthe\\nbank')", {}, "cannot be loaded: ValueError: of the bank"),
        (LACKING, {}, "does not fulfil the contract"),
        ("def make(context): return 'bank'", {}, "does not fulfil the contract"),
        (BANK, {"entry": "other = bank_of_a_test:make"}, "does not fulfil the contract"),
        (BANK.replace('"bank"', '"Bank"'), {"entry": "Bank = bank_of_a_test:make"}, "does not fulfil the contract"),
    ],
)  # fmt: skip
def test_one_that_is_no_good_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, entry: dict[str, str], line: str
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    name = entry.get("entry", "bank").partition(" ")[0]
    with (
        installed(package(tmp_path, code, **entry)),
        pytest.raises(
            SettingInvalid, match=rf"^payment provider {name} \(bank_of_a_test:make\) {line}$"
        ) as wrong,
    ):
        load()
    assert "\n" not in str(wrong.value)


def test_two_of_one_name_stop_the_start(tmp_path: Path) -> None:
    code = "def make(context): return None"
    second = package(tmp_path / "2", code, entry="harbour = second_of_a_test:make", name="second")
    with (
        installed(PACKAGE, second),
        pytest.raises(SettingInvalid, match=r"^payment provider harbour: two installed"),
    ):
        load()


async def test_a_third_partys_provider_sells_credit(
    shop: PaymentShop, pg: Pool, link: RedisLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but its installation and its own setting makes it one."""
    monkeypatch.setenv("HARBOUR_URL", URL)
    with installed(PACKAGE):
        world = HarbourWorld()
        payments = Payments(pg, link, shop.settings)
        try:
            assert payments.providers.names == ["harbour", "manual", "stripe"]
            customer = await shop.customer("JPY")
            at_harbour = replace(shop, payments=payments)
            made = await at_harbour.checkout(customer, order_id="ORD-1", provider="harbour")
            assert made.init.type == "redirect_url"
            (bill,) = world.harbour.bills.values()
            assert (bill["order"], bill["amount"], bill["currency"]) == ("ORD-1", "1000", "JPY")
            bill["paid"] = True
            (message,) = await world.messages(None, made.init)  # type: ignore[arg-type]
            webhook = world.sign(message, now())
            assert await receive_webhook(pg, payments.providers.get("harbour"), *webhook)
            await payments.run_once()
            assert await customer.ledger_nanos() == 1000 * DOLLAR
            refund = await at_harbour.refund("ORD-1", 400)
            assert (refund.state, refund.provider_refund_id) == ("succeeded", f"{bill['number']}:{refund.id}")
            assert (await customer.ledger_nanos(), await at_harbour.status("ORD-1")) == (
                600 * DOLLAR,
                "partially_refunded",
            )
            assert await at_harbour.house("cash:harbour", "JPY") == -600 * DOLLAR
            await at_harbour.balanced()
        finally:
            await payments.close()
