"""A real LiteLLM proxy in front of the fake upstream, from a virtual environment of its own.

LiteLLM's dependencies clash with ours and weigh 700 MB, so `make litellm-venv` installs it once beside the
checkout. Flows that name LiteLLM fail, not skip, when it is missing. Nothing of rabbitgw is used here but the
leash, which ends the proxy when the test run is killed.
Every model named `fake-…` goes to the fake upstream under its own name, in OpenAI's dialect; every `claude-…` in
Anthropic's. Either serves every route that LiteLLM can translate.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from rabbitgw.dev.child import LEASH

CHECKOUT = Path(__file__).resolve().parents[2]
VENV_VARIABLE = "RABBITGW_LITELLM_VENV"
VENV_DEFAULT = CHECKOUT / ".cache" / "litellm-venv"
MASTER_KEY = "sk-litellm-master"
UPSTREAM_KEY = "sk-upstream-secret"
READY_TIMEOUT_S = 300.0  # 17 s on an idle machine of two cores; it imports much


class LiteLLMProxy:
    """`base_url` is without /v1; `master_key` is the bearer token."""

    def __init__(self, upstream_url: str, folder: Path, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self.master_key = MASTER_KEY
        self.upstream_key = UPSTREAM_KEY
        self.log = folder / "litellm.log"
        self._folder = folder
        self._port = port
        self._upstream_url = upstream_url
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> LiteLLMProxy:
        program = Path(os.environ.get(VENV_VARIABLE) or VENV_DEFAULT) / "bin" / "litellm"
        if not program.is_file():
            raise RuntimeError(f"{program} is missing: run `make litellm-venv`, or set {VENV_VARIABLE}")
        config = self._folder / "litellm.yaml"
        config.write_text(json.dumps(_config(self._upstream_url)))  # JSON is YAML
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._folder),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MODE": "PRODUCTION",  # else it reads a .env file
            "NO_PROXY": "*",
        }
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [
                    *(
                        sys.executable,
                        "-I",
                        "-S",
                        str(LEASH),
                        str(os.getpid()),
                        str(int(signal.SIGTERM)),
                        "-",
                    ),
                    *(program, "--config", config, "--telemetry", "False", "--num_workers", "1"),
                    *("--host", "127.0.0.1", "--port", str(self._port)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self._folder,
                env=environment,
                start_new_session=True,
            )
        return self

    def wait_ready(self) -> None:
        assert self._process is not None
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                raise RuntimeError(f"LiteLLM ended with status {self._process.returncode}:\n{self._tail()}")
            try:
                with urllib.request.urlopen(f"{self.base_url}/health/liveliness", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise RuntimeError(f"LiteLLM was not ready after {READY_TIMEOUT_S:.0f} s:\n{self._tail()}")

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


def _config(upstream_url: str) -> dict[str, object]:
    keyed = {"api_key": UPSTREAM_KEY, "max_retries": 0}
    openai = {"api_base": f"{upstream_url}/v1", **keyed}
    anthropic = {"api_base": upstream_url, **keyed}  # it adds /v1/messages itself
    return {
        "model_list": [
            {"model_name": "fake-gpt", "litellm_params": {"model": "openai/fake-gpt", **openai}},
            {"model_name": "fake-*", "litellm_params": {"model": "openai/fake-*", **openai}},
            {"model_name": "claude-fake", "litellm_params": {"model": "anthropic/claude-fake", **anthropic}},
            {"model_name": "claude-*", "litellm_params": {"model": "anthropic/claude-*", **anthropic}},
        ],
        "litellm_settings": {"num_retries": 0, "request_timeout": 60, "drop_params": False},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {"master_key": MASTER_KEY},
    }
