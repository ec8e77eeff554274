"""An official SDK as a customer has it: cases come as JSON on standard input, outcomes leave as JSON lines.

Runs in a process of its own, with the SDK under test on its path, and knows nothing of the gateway. The sync and
the async client take the same way through the same code: a coroutine around a sync client never waits.
Input: {"sdk": "openai" | "anthropic", "cases": [case, …]}, a case being
    {"id", "sync": bool, "base_url", "key" (null: no credential is sent), "method": "chat.completions.create",
     "arguments": {…}, "headers": {…}, "reads": a name of readers.READERS, "options": {"timeout": …} of the client}
Output: {"version"}, then one line a case: {"id", "seen": {…}, "error": null | {"class", "status", …}}
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel
from readers import READERS

AT_ONCE = 24  # calls under way, of each of the two clients
TIMEOUT_S = 120.0  # instead of ten minutes: a call that hangs is to be seen in this run


class City(BaseModel):
    """What structured output is parsed into."""

    name: str
    inhabitants: int


CLASSES = {"City": City}


def spelt_out(value: Any) -> Any:
    """{"$class": name} stands for a class of ours, {"$repeat": [text, times]} for a long text."""
    if isinstance(value, list):
        return [spelt_out(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "$class" in value:
        return CLASSES[value["$class"]]
    if "$repeat" in value:
        text, times = value["$repeat"]
        return text * times
    return {name: spelt_out(one) for name, one in value.items()}


async def outcome(client: Any, case: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    try:
        method = client.with_options(
            api_key=case["key"] or "none", base_url=case["base_url"], **case["options"]
        )
        for name in case["method"].split("."):
            method = getattr(method, name)
        headers = {**case["headers"]}
        if case["key"] is None:
            nothing = importlib.import_module(type(client).__module__.partition(".")[0]).Omit()
            headers |= {"Authorization": nothing, "X-Api-Key": nothing}
        result = method(**spelt_out(case["arguments"]), extra_headers=headers)
        await READERS[case["reads"]](result, seen)
    except Exception as error:
        return {"id": case["id"], "seen": seen, "error": described(error)}
    return {"id": case["id"], "seen": seen, "error": None}


def described(error: Exception) -> dict[str, Any]:
    """What a customer's code can look at."""
    kind = type(error)
    library = kind.__module__.partition(".")[0]
    body = getattr(error, "body", None)
    return {
        "class": kind.__name__ if library in ("openai", "anthropic") else f"{library}.{kind.__name__}",
        "status": getattr(error, "status_code", None),
        "code": getattr(error, "code", None),
        "type": getattr(error, "type", None),
        "param": getattr(error, "param", None),
        "message": getattr(error, "message", None) or str(error),
        "request_id": getattr(error, "request_id", None),
        "body": body if isinstance(body, dict) else None,
    }


def without_waiting(work: Any) -> Any:
    """The result of a coroutine around a sync client."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("the sync client waited")


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, default=repr) + "\n")
    sys.stdout.flush()


async def main() -> None:
    told = json.loads(sys.stdin.buffer.read())
    sdk = importlib.import_module(told["sdk"])
    family = "OpenAI" if told["sdk"] == "openai" else "Anthropic"
    sync_client = getattr(sdk, family)(api_key="none", timeout=TIMEOUT_S)
    async_client = getattr(sdk, f"Async{family}")(api_key="none", timeout=TIMEOUT_S)
    loop = asyncio.get_running_loop()
    room = asyncio.Semaphore(AT_ONCE)

    async def run(case: dict[str, Any]) -> None:
        if case["sync"]:
            say(await loop.run_in_executor(threads, lambda: without_waiting(outcome(sync_client, case))))
            return
        async with room:
            say(await outcome(async_client, case))

    say({"version": sdk.__version__})
    with ThreadPoolExecutor(AT_ONCE) as threads:
        await asyncio.gather(*map(run, told["cases"]))
    sync_client.close()
    await async_client.close()


if __name__ == "__main__":
    asyncio.run(main())
