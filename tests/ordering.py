"""Which file a worker of pytest-xdist takes next: the longest first, so that none runs at the end beside idle workers.

A file stays on one worker, as with `--dist loadfile`. Those that ask for a real LiteLLM count as one: starting it takes
some fifteen seconds, and so only one worker does.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest

# The longest first, as measured beside other work. Other files go by their number of tests, behind these.
LONGEST: Final = (
    "litellm",
    "tests/api/test_schemathesis.py",
    "tests/flows/test_audit_under_load.py",
    "tests/flows/test_workers.py",
    "tests/flows/test_burst.py",
    "tests/flows/test_store_faults.py",
    "tests/flows/test_rude_clients.py",
    "tests/sdks/test_matrix.py",
    "tests/flows/test_rude_words.py",
    "tests/flows/test_fixture_replay.py",
    "tests/flows/test_rude_upstreams.py",
    "tests/flows/test_rude_sockets.py",
    "tests/flows/test_refusals.py",
    "tests/flows/test_rude_money.py",
    "tests/browser/test_payment_element.py",
    "tests/payments/test_crashes.py",
    "tests/payments/test_machine.py",
    "tests/flows/test_payments.py",
    "tests/flows/test_payment_kill.py",
    "tests/flows/test_soak.py",
    "tests/billing/test_scripts_machine.py",
    "tests/bench/test_smoke.py",
)
LITELLM: Final = frozenset(
    {
        "tests/doctor/test_upstream.py",
        "tests/fakes/test_litellm_proxy.py",
        "tests/flows/test_litellm.py",
        "tests/flows/test_litellm_dialects.py",
        "tests/flows/test_price_import_litellm.py",
    }
)


def unit_of(nodeid: str) -> str:
    """What goes to one worker as a whole."""
    path = nodeid.partition("::")[0]
    return "litellm" if path in LITELLM else path


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):
        return  # one process: the order of the tree
    sizes = Counter(unit_of(item.nodeid) for item in items)
    places = {path: place for place, path in enumerate(LONGEST)}

    def rank(item: pytest.Item) -> tuple[int, int, str]:
        unit = unit_of(item.nodeid)
        return places.get(unit, len(places)), -sizes[unit], unit

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadFileScheduling

    class InOrder(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

    config.option.loadscopereorder = False  # it would go by the number of tests again
    return InOrder(config, log) if config.getvalue("dist") == "loadfile" else None
