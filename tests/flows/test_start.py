"""A gateway that cannot start leaves nothing running."""

from __future__ import annotations

import pytest

from rabbitgw.app import Gateway
from rabbitgw.errors import SettingInvalid
from tests.flows.house import House


async def test_a_port_that_is_taken_is_named_and_no_loop_is_left(house: House) -> None:
    settings = house.settings.model_copy(update={"port": house.gateway.port})
    second = Gateway(settings, house.stores)
    with pytest.raises(SettingInvalid, match="RABBITGW_PORT"):
        await second.start()
    assert second._loops
    assert all(task.done() for task in second._loops)
