"""Image models by size and quality in LiteLLM's price map: an entry for each, gathered into one for the model.

"azure/hd/1024-x-1792/dall-e-3" is not the name of a model that anybody can ask for: it is one price of azure/dall-e-3.
Prices by pixel become prices by image, as the size is in the name. Numbers stay Decimal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from rabbitgw.billing.pieces import image_kind

SIZES: Final = "image_sizes"  # our member of a model's entry: kind of image -> price of one
_QUALITY: Final = "low|medium|high|xhigh|max|standard|hd"
_NAME: Final = re.compile(
    rf"(?P<provider>(?!(?:{_QUALITY})/)[a-z0-9_]+/)?(?:(?P<quality>{_QUALITY})/)?"
    r"(?P<width>[1-9][0-9]{1,4})-x-(?P<height>[1-9][0-9]{1,4})/(?P<model>.+)"
)
_KEPT: Final = ("mode", "litellm_provider")


def with_sizes(price_map: Mapping[str, Any]) -> dict[str, Any]:
    """The map with each sized entry gathered into that of its model, which is made where there is none."""
    gathered: dict[str, Any] = {}
    sized: list[tuple[re.Match[str], Mapping[str, Any]]] = []
    for name, entry in price_map.items():
        found = _NAME.fullmatch(name) if isinstance(entry, Mapping) else None
        if found is None:
            gathered[name] = entry
        else:
            sized.append((found, entry))
    for found, entry in sized:
        price = _per_image(entry, int(found["width"]) * int(found["height"]))
        if price is None:
            continue
        model = (found["provider"] or "") + found["model"]
        known = gathered.get(model)
        if not isinstance(known, Mapping):
            known = {field: entry[field] for field in _KEPT if field in entry}
        kind = image_kind(f"{found['width']}x{found['height']}", found["quality"] or "")
        gathered[model] = {**known, SIZES: {**known.get(SIZES, {}), kind: price}}
    return gathered


def _per_image(entry: Mapping[str, Any], pixels: int) -> Decimal | None:
    """The dearer of what it says by image and by pixel; None where it says neither, or nothing of worth."""
    by_image = _number(entry, "input_cost_per_image") + _number(entry, "output_cost_per_image")
    by_pixel = _number(entry, "input_cost_per_pixel") + _number(entry, "output_cost_per_pixel")
    return max(by_image, by_pixel * pixels) or None


def _number(entry: Mapping[str, Any], name: str) -> Decimal:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return Decimal(0)
    number = Decimal(str(value))
    return number if number.is_finite() and number >= 0 else Decimal(0)
