"""What a window costs Redis: the calls of the bench are taken, and its figures are summed round by round."""

from __future__ import annotations

from bench.windows import RATES, WINDOWS, Bench, Case, Costs, Plan, as_markdown, summed
from rabbitgw.dev.redis import RedisServer
from rabbitgw.redis_link import RedisLink


async def test_every_case_is_charged_by_the_scripts(redis_server: RedisServer, link: RedisLink) -> None:
    said: list[str] = []
    costs = await Bench(redis_server, link).run(Plan(rounds=1, pairs=32), said.append)
    ours = {(windows, rates) for windows in WINDOWS for rates in (0, RATES)}
    assert set(costs) == {None, *ours}
    assert all(cpu > 0 and inside > 0 for ((cpu, inside),) in costs.values())
    assert len(said) == 1
    account = await link.call("HMGET", "{b}:account", "balance", "held")
    assert account == [b"%d" % (10**17 - 40 * 120), b"0"]


def test_what_a_window_adds_is_the_slope_of_each_round() -> None:
    costs: Costs = {None: [(20.0, 10.0), (40.0, 20.0)]}
    for rates in (0, RATES):
        for windows in WINDOWS:
            case: Case = (windows, rates)
            costs[case] = [(50.0 + 6 * windows, 30.0 + windows), (100.0 + 8 * windows, 60.0 + 3 * windows)]
    results = summed(costs)
    assert results["added_by_a_window"][f"process_us, {RATES} rates"]["rounds"] == [6.0, 8.0]
    assert results["added_by_a_window"]["evalsha_us, 0 rates"]["median"] == 2.0
    bare = next(row for row in results["rows"] if row["case"] == "rabbitgw" and row["windows"] == 0)
    assert (bare["times_by_hand"], bare["evalsha_times_by_hand"]) == (2.5, 3.0)
    text = as_markdown({"date": "", "redis": "", "cores": 2, "rounds": 2, "pairs": 1, **results})
    assert "| rabbitgw | 16 | 0 | 187.0 (146.0–228.0) |" in text
