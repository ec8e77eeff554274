"""Where price maps come from: a file, the LiteLLM proxy in front of us, or the litellm package beside us.

Owns reading (bounded) and the proxy's own names for models. What a map means is price_import.py's.
The proxy's map knows models by their provider's names; a caller uses the proxy's names, so each of its
deployments is priced under both. Where deployments of one name differ, the dearest of each rate holds.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import aiohttp

from rabbitgw.billing.price_book import Appended, append_prices, load_book
from rabbitgw.billing.price_import import GLOBAL_REGION, ImportResult, import_litellm_map, parse_map
from rabbitgw.billing.price_map_fields import looks_like_price
from rabbitgw.billing.price_sizes import with_sizes
from rabbitgw.errors import RequestInvalid, UpstreamError
from rabbitgw.stores import Pool

LITELLM: Final = "litellm"
MAP_BYTES_MAX: Final = 64 * 1024 * 1024  # the published map is 3 MB
MAP_TIMEOUT_S: Final = 30.0
# The catalogue as published: without it the proxy adds its deployments under opaque ids.
MAP_PATH: Final = "/public/litellm_model_cost_map?catalog_only=true"
DEPLOYMENTS_PATH: Final = "/model/info"
OVERRIDES: Final = (
    "pricing_overrides"  # the proxy's list of which prices its configuration set: names, no prices
)
PACKAGE_MAP: Final = "model_prices_and_context_window_backup.json"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did. `replaced` are patterns whose price an operator had set by hand."""

    source: str
    appended: Appended
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()


async def import_prices(
    pool: Pool,
    source: str,
    *,
    base_url: str = "",
    api_key: str = "",
    currency: str = "USD",
    region: str = GLOBAL_REGION,
    free: bool = False,
) -> ImportReport:
    """Read a map from `source` (a file's path, or "litellm") and add what is new in it, all or nothing.

    The newest version wins, so an import also replaces prices that were set by hand; the report names them.
    Raises: RequestInvalid (no such file, not a map), UpstreamError, PostgresUnavailable.
    """
    origin, price_map = await read_price_map(source, base_url=base_url, api_key=api_key)
    result: ImportResult = await asyncio.to_thread(
        import_litellm_map, price_map, currency=currency, region=region, free=free
    )
    before = await load_book(pool)
    appended = await append_prices(pool, result.prices)
    replaced = []
    for price in appended.added:
        known = before.current(price.pattern, price.currency)
        if known is not None and known.origin == "set":
            replaced.append(price.pattern)
    return ImportReport(origin, appended, result.refused, result.notes, tuple(replaced))


async def read_price_map(source: str, *, base_url: str = "", api_key: str = "") -> tuple[str, dict[str, Any]]:
    """Where the map was found, and the map. For "litellm": the proxy at `base_url`, else the package.

    Raises: RequestInvalid, UpstreamError.
    """
    if source != LITELLM:
        return source, await asyncio.to_thread(_read_file, Path(source))
    if base_url:
        return base_url, await _read_proxy(base_url, api_key)
    packaged = _package_map()
    if packaged is None:
        raise RequestInvalid(
            "litellm: set LITELLM_BASE_URL to a proxy, install the litellm package, or name a file",
            field="source",
        )
    return str(packaged), await asyncio.to_thread(_read_file, packaged)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MAP_BYTES_MAX + 1)
    except OSError as error:
        raise RequestInvalid(f"{path}: {error.strerror or error}", field="source") from None
    if len(text) > MAP_BYTES_MAX:
        raise RequestInvalid(f"{path}: larger than {MAP_BYTES_MAX} bytes", field="source")
    return parse_map(text)


def _package_map() -> Path | None:
    """The map inside an installed litellm package, found without importing it (that takes seconds)."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / PACKAGE_MAP
    return path if path.is_file() else None


async def _read_proxy(base_url: str, api_key: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = aiohttp.ClientTimeout(total=MAP_TIMEOUT_S)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        catalogue = await _get(session, base_url + MAP_PATH)
        deployments = (await _get(session, base_url + DEPLOYMENTS_PATH)).get("data")
    if not isinstance(deployments, list):
        raise UpstreamError(f"{DEPLOYMENTS_PATH} of the LiteLLM proxy answered without `data`")
    models = with_sizes(catalogue)
    return {**models, **proxy_names(models, deployments)}


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    path = url.split("://", 1)[-1].partition("/")[2]
    try:
        async with session.get(url, allow_redirects=False) as response:
            body = await response.content.read(MAP_BYTES_MAX)
            while not response.content.at_eof():
                more = await response.content.read(MAP_BYTES_MAX)
                body += more
                if len(body) > MAP_BYTES_MAX:
                    raise UpstreamError(f"/{path} of the LiteLLM proxy is larger than {MAP_BYTES_MAX} bytes")
            status = response.status
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UpstreamError(f"/{path} of the LiteLLM proxy: {str(error) or type(error).__name__}") from error
    if status != 200:
        raise UpstreamError(f"/{path} of the LiteLLM proxy answered {status}")
    return await asyncio.to_thread(parse_map, body)


def proxy_names(catalogue: Mapping[str, Any], deployments: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """The proxy's own model names as entries of the map: the catalogue's entry of the model behind each,
    with the prices that the proxy was configured with on top. A name with a wildcard is no model."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for deployment in deployments:
        if not isinstance(deployment, Mapping):
            continue
        name = deployment.get("model_name")
        if isinstance(name, str) and name and "*" not in name:
            by_name.setdefault(name, []).append(_deployment_entry(catalogue, deployment))
    return {name: _dearest(entries) for name, entries in by_name.items()}


def _deployment_entry(catalogue: Mapping[str, Any], deployment: Mapping[str, Any]) -> dict[str, Any]:
    info = deployment.get("model_info")
    params = deployment.get("litellm_params")
    stated: dict[str, Any] = {}
    for part in (info, params):
        if isinstance(part, Mapping):
            stated |= {name: value for name, value in part.items() if value is not None}
    behind = [name for part in ("key", "base_model", "model") if isinstance(name := stated.get(part), str)]
    behind += [name.removeprefix("openai/") for name in behind]  # whose models the map names without it
    found = next((catalogue[name] for name in behind if name in catalogue), None)
    listed = dict(found) if isinstance(found, Mapping) else {}
    entry = dict(listed)
    for name, value in stated.items():
        # The proxy fills prices it does not know with 0: only the catalogue can say that something is free.
        if looks_like_price(name) and name != OVERRIDES and _is_more_than_nothing(value):
            entry[name] = value
    _drop_stale_variants(entry, listed)
    for name in ("mode", "litellm_provider", "max_tokens", "max_input_tokens", "max_output_tokens"):
        if name in stated:
            entry.setdefault(name, stated[name])
    return entry


def _drop_stale_variants(entry: dict[str, Any], listed: Mapping[str, Any]) -> None:
    """Where the proxy sets a price of its own, the catalogue's tiers and sizes of it no longer belong to it."""
    changed = {name for name in listed if looks_like_price(name) and entry[name] != listed[name]}
    for name in changed:
        for variant in [other for other in entry if other.startswith(f"{name}_") and other not in changed]:
            if variant in listed:
                del entry[variant]


def _is_more_than_nothing(value: Any) -> bool:
    return value != 0 if isinstance(value, int | float | Decimal) else bool(value)


def _dearest(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One entry for several deployments of a name, none of which is sold below its own price.

    A number that all state: the largest. A price that some do not state falls away, so that what stands in
    for it (the plain or the input rate, which is dearer) holds; unless nothing stands in for it.
    """
    merged = dict(entries[0])
    for other in entries[1:]:
        for name in merged.keys() | other.keys():
            mine, theirs = merged.get(name), other.get(name)
            if mine == theirs or not looks_like_price(name):
                continue
            if isinstance(mine, int | Decimal) and isinstance(theirs, int | Decimal):
                merged[name] = max(mine, theirs)
            elif mine is None or theirs is None:
                _one_sided(merged, name, mine if theirs is None else theirs)
            else:
                merged["prices_differ_between_deployments"] = name  # no table knows it: the name is refused
    return merged


def _one_sided(merged: dict[str, Any], name: str, value: Any) -> None:
    if "cache_read" in name or "cache_hit" in name or name.endswith(("_batches", "_flex")):
        merged.pop(name, None)
    else:
        merged[name] = value
