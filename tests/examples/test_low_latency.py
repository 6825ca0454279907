"""The service in a process of its own, asked over real sockets."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import plain_answers
import programs
import pytest
import tiny_palette

PROGRAM = "low_latency/serve.py"
TEXTS = ["turn on the lamp", "play some music", "set a timer"]

# The application over a session that is pinned to one subnet after another.
SWAPPING = """
import itertools, sys, threading, time, uvicorn, serve
from edgedistill.runtime import AdaptiveSession

def swap(session):
    for name in itertools.cycle(session.subnets):
        session.pin(name)
        time.sleep(0.03)

with AdaptiveSession(sys.argv[1], threads=1) as session:
    threading.Thread(target=swap, args=(session,), daemon=True).start()
    uvicorn.run(serve.application(session, 1000.0), port=int(sys.argv[2]), log_level="warning")
"""

# The whole program over sessions that take a while.
SLOW = """
import sys, time, serve
from edgedistill.manifest import load
from edgedistill.runtime import AdaptiveSession
from edgedistill.runtime.onnx import create_session

class Slow:
    def __init__(self, session):
        self.session = session

    def run(self, *given):
        time.sleep(0.5)
        return self.session.run(*given)

def opened(palette, **options):
    loaded = load(palette)
    return AdaptiveSession(loaded, create=lambda name: Slow(create_session(loaded.graph_path(name), 1)), **options)

serve.MOST_WAITING = 2
serve.AdaptiveSession = opened
sys.argv[2:2] = ["--port"]
serve.main()
"""


@contextmanager
def service(arguments: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Started, and ready; killed in the end if it still runs."""
    folder = (programs.EXAMPLES / PROGRAM).parent
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder) as process:
        end_s = time.perf_counter() + programs.WAIT_S
        try:
            while not answers(port):
                assert process.poll() is None, process.stdout and process.stdout.read()
                assert time.perf_counter() < end_s
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def answers(port: int) -> bool:
    try:
        return get(port, "/health")[0] == 200
    except ConnectionRefusedError:
        return False


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=programs.WAIT_S)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def get(port: int, path: str) -> tuple[int, Any]:
    return ask(port, "GET", path)


def classify(port: int, text: str) -> tuple[int, Any]:
    return ask(port, "POST", "/classify", json.dumps({"text": text}).encode())


def terminated(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    return process.wait(programs.WAIT_S)


def test_it_answers_says_how_it_is_refuses_what_is_wrong_and_ends_cleanly(palette: Path) -> None:
    port = programs.free_port()
    with service(programs.command(PROGRAM, palette, "--port", port, "--max-latency-ms", 2000), port) as process:
        status, found = classify(port, TEXTS[0])
        assert status == 200
        logits = plain_answers.outputs(palette, found["subnet"], TEXTS[0])
        assert found["label"] == tiny_palette.LABELS[int(logits.argmax())]
        status, health = get(port, "/health")
        assert (status, health["subnet"], health["swaps"]) == (200, "large", 0)
        assert health["explain"].startswith("large ")
        wrong = {
            b"": 400,
            b"[" * 50_000: 400,
            b'"lamp"': 400,
            b'{"text": 7}': 400,
            b'{"text": " "}': 400,
            b'{"text": "\\ud800"}': 400,
            b"\xff" * 100: 400,
            b"x" * 100_000: 413,
        }
        for body, expected in wrong.items():
            status, said = ask(port, "POST", "/classify", body)
            assert (status, list(said)) == (expected, ["error"]), body[:20]
        assert get(port, "/nowhere") == (404, {"error": "Not Found"})
        assert get(port, "/classify")[0] == 405
        assert classify(port, TEXTS[0])[0] == 200
        assert terminated(process) == 0
        assert process.stdout is not None
        assert b"Traceback" not in process.stdout.read()


def test_many_clients_at_once_lose_no_request_while_subnets_swap(palette: Path) -> None:
    port = programs.free_port()
    logits = {(s, t): plain_answers.outputs(palette, s, t) for s in tiny_palette.WIDTHS for t in TEXTS}
    with service([sys.executable, "-c", SWAPPING, str(palette), str(port)], port):

        def client(number: int) -> set[str]:
            subnets = set()
            for place in range(60):
                text = TEXTS[(number + place) % 3]
                status, found = classify(port, text)
                assert status == 200, found
                expected = logits[found["subnet"], text]
                assert found["label"] == tiny_palette.LABELS[int(expected.argmax())]
                assert found["score"] == pytest.approx(float(plain_answers.softmax(expected).max()), abs=1e-5)
                subnets.add(found["subnet"])
            return subnets

        with ThreadPoolExecutor(8) as pool:
            served = set().union(*pool.map(client, range(8)))
        assert len(served) > 1
        assert get(port, "/health")[1]["swaps"] > 1


def test_slow_runs_block_no_health_check_and_sigterm_waits_for_them(palette: Path) -> None:
    port = programs.free_port()
    with service([sys.executable, "-c", SLOW, str(palette), str(port)], port) as process, ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(classify, port, "lamp") for _ in range(6)]
        time.sleep(0.25)
        begin_s = time.perf_counter()
        assert get(port, "/health")[0] == 200
        assert time.perf_counter() - begin_s < 0.4
        process.terminate()
        statuses = sorted(future.result()[0] for future in asked)
        # One runs and two wait; more are told to come back.
        assert statuses == [200, 200, 200, 503, 503, 503]
        assert process.wait(programs.WAIT_S) == 0


def test_what_cannot_be_used_is_refused_in_one_line(palette: Path, tagger: Path) -> None:
    programs.one_line(programs.run(PROGRAM, "nowhere"), "nowhere is not a palette")
    programs.one_line(programs.run(PROGRAM, tagger), "the palette is for token-classification")
    programs.one_line(programs.run(PROGRAM, palette, "--max-latency-ms", 0), "max_latency_ms is 0.0")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_the_unit_is_one_that_systemd_takes_and_calls_safe(tmp_path: Path) -> None:
    text = (programs.EXAMPLES / "low_latency" / "edgedistill.service").read_text()
    unit = tmp_path / "edgedistill.service"
    unit.write_text(text.replace("/opt/edgedistill/venv/bin/python", sys.executable))
    for check in (["verify"], ["security", "--offline=true", "--threshold=20"]):
        done = subprocess.run(["systemd-analyze", *check, unit], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "edgedistill.service:" not in done.stderr
