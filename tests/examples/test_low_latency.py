"""The service in a process of its own, asked over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
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
from edgedistill.palette import load
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

class Classifier(serve.TextClassifier):
    def classify(self, texts, *, deadline_ms):
        print("deadline", deadline_ms, flush=True)
        return super().classify(texts, deadline_ms=deadline_ms)

serve.MAX_WAITING = 2
serve.TextClassifier = Classifier
serve.AdaptiveSession = opened
sys.argv[2:2] = ["--port"]
serve.main()
"""

# The whole program with less patience, and with room for fewer.
IMPATIENT = """
import sys, connections, serve
connections.ARRIVAL_S, connections.MAX_CONNECTIONS = 0.5, 5
sys.argv[2:2] = ["--port"]
serve.main()
"""

# The whole program over a palette that fails in ways that nobody foresaw.
FAILING = """
import sys, serve
from edgedistill.errors import LoadError

class Classifier(serve.TextClassifier):
    def classify(self, texts, **_):
        raise (LoadError("no memory for it") if texts == ["lamp"] else RuntimeError("a secret"))

serve.TextClassifier = Classifier
sys.argv[2:2] = ["--port"]
serve.main()
"""
JSON = {"Content-Type": "application/json"}
TEXT = b'{"text": "turn on the lamp"}'
HEAD = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 28\r\n\r\n"


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


def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] = JSON
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=programs.WAIT_S)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def connect(port: int, sent: bytes) -> socket.socket:
    """Return a connection on which this was sent."""
    connection = socket.create_connection(("127.0.0.1", port), programs.WAIT_S)
    connection.sendall(sent)
    return connection


def rest(connection: socket.socket) -> bytes:
    """Read until the service hangs up."""
    with connection, contextlib.suppress(ConnectionResetError):
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return b""


def answer_in(received: bytes) -> tuple[int, Any]:
    """Return the status and the JSON of one answer."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"application/json" in head.lower()
    return int(head.split()[1]), json.loads(body)


def get(port: int, path: str) -> tuple[int, Any]:
    return ask(port, "GET", path)


def classify(port: int, text: str) -> tuple[int, Any]:
    return ask(port, "POST", "/classify", json.dumps({"text": text}).encode())


def terminated(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    return process.wait(programs.WAIT_S)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.alone
@pytest.mark.slow
def test_slow_runs_block_no_health_check_and_sigterm_waits_for_them(palette: Path) -> None:
    port = programs.free_port()
    command = [sys.executable, "-c", SLOW, str(palette), str(port), "--max-latency-ms", "10000"]
    with service(command, port) as process, ThreadPoolExecutor(6) as pool:
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
        assert process.stdout is not None
        deadlines = [float(line.split()[1]) for line in process.stdout if line.startswith(b"deadline")]
    # The second shared what was left with the third, which then had all that was left of its own.
    assert [deadline <= 10_000 / 2 for deadline in deadlines[1:]] == [True, False]


@pytest.mark.alone
@pytest.mark.slow
def test_clients_that_ask_again_at_once_are_refused_once_a_second(palette: Path) -> None:
    """So that refusing them takes no time from those that are answered."""
    port, seconds, clients = programs.free_port(), 3, 12
    statuses = Counter[int]()

    def client(end_s: float) -> None:
        while time.perf_counter() < end_s:
            statuses[classify(port, "lamp")[0]] += 1

    with service([sys.executable, "-c", SLOW, str(palette), str(port)], port), ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, [time.perf_counter() + seconds] * clients))
    assert statuses[200] >= 2
    assert 0 < statuses[503] <= clients * (seconds + 1)


@pytest.mark.slow
def test_what_does_not_arrive_in_time_is_refused_and_holds_nothing(palette: Path) -> None:
    port = programs.free_port()
    late = (408, {"error": "no whole request within 0.5 s"})
    whole = HEAD + TEXT
    with service([sys.executable, "-c", IMPATIENT, str(palette), str(port)], port) as process:
        for sent in (b"", b"POST /cla", HEAD[:-2], HEAD, HEAD + TEXT[:5]):
            assert answer_in(rest(connect(port, sent))) == late, sent
        # A part of the next request behind a whole one, in one piece or in two.
        for parts in ([whole + HEAD], [whole, HEAD], [whole + HEAD[:20]]):
            connection = connect(port, parts[0])
            for part in parts[1:]:
                time.sleep(0.1)
                connection.sendall(part)
            received = rest(connection)
            assert received.startswith(b"HTTP/1.1 200 OK")
            assert answer_in(received[received.index(b"HTTP/1.1 408") :]) == late
        # A byte now and then does not wind the clock up.
        connection, begin_s = connect(port, HEAD), time.perf_counter()
        with contextlib.suppress(OSError):
            for _ in range(100):
                connection.sendall(b"{")
                time.sleep(0.05)
        assert time.perf_counter() - begin_s < 4
        connection.close()
        assert classify(port, TEXTS[0])[0] == 200
        process.terminate()
        assert process.stdout is not None
        assert b"Traceback" not in process.stdout.read()


@pytest.mark.slow
def test_a_connection_too_many_is_refused(palette: Path) -> None:
    port = programs.free_port()
    with service([sys.executable, "-c", IMPATIENT, str(palette), str(port)], port):
        end_s = time.perf_counter() + programs.WAIT_S
        open_ones = [connect(port, b"") for _ in range(5)]
        assert answer_in(rest(connect(port, b""))) == (503, {"error": "too many connections"})
        for connection in open_ones:
            rest(connection)
        while classify(port, TEXTS[0])[0] != 200:
            assert time.perf_counter() < end_s


@pytest.mark.slow
def test_every_error_is_json_whatever_was_sent(palette: Path) -> None:
    port = programs.free_port()
    with service(programs.command(PROGRAM, palette, "--port", port, "--allow-host", "lamp.local"), port) as process:
        for sent in (
            b"\r\n\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET / HTTP/1.1\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nNo colon\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nLong: " + b"x" * 100_000,
            HEAD.replace(b"Content-Length: 28", b"Transfer-Encoding: chunked") + b"no number\r\n",
        ):
            status, said = answer_in(rest(connect(port, sent)))
            assert (status, list(said)) == (400, ["error"]), sent[:80]
        unknown = (400, {"error": "unknown Host; --allow-host adds one"})
        hosts = {"evil.example": unknown, "evil.example:8040": unknown, "": unknown}
        for path, method in (("/health", "GET"), ("/classify", "POST")):
            for host, expected in hosts.items():
                assert ask(port, method, path, TEXT, JSON | {"Host": host}) == expected
            for host in ("localhost", "127.0.0.1:1", "LAMP.local:80"):
                assert ask(port, method, path, TEXT, JSON | {"Host": host})[0] == 200
        kind = (415, {"error": "expected Content-Type: application/json"})
        for header in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
            assert ask(port, "POST", "/classify", TEXT, header) == kind
        assert ask(port, "POST", "/classify", TEXT, {"Content-Type": "Application/JSON; charset=utf-8"})[0] == 200
        for _ in range(5):  # clients that left
            connect(port, HEAD + b"{").close()
        assert classify(port, TEXTS[0])[0] == 200
        assert terminated(process) == 0
        assert process.stdout is not None
        assert b"Traceback" not in process.stdout.read()


def test_what_nobody_foresaw_is_json_too_and_in_the_log_alone(palette: Path) -> None:
    port = programs.free_port()
    with service([sys.executable, "-c", FAILING, str(palette), str(port)], port) as process:
        assert classify(port, "lamp") == (500, {"error": "no memory for it"})
        assert classify(port, "music") == (500, {"error": "the service failed; its log says why"})
        assert terminated(process) == 0
        assert process.stdout is not None
        assert process.stdout.read().count(b"RuntimeError: a secret") == 1


def test_a_terminal_that_closes_ends_it_as_sigterm_does(palette: Path) -> None:
    port = programs.free_port()
    with service(programs.command(PROGRAM, palette, "--port", port), port) as process:
        process.send_signal(signal.SIGHUP)
        assert process.wait(programs.WAIT_S) == 0
        assert process.stdout is not None
        assert b"Finished server process" in process.stdout.read()


def test_what_cannot_be_used_is_refused_in_one_line(palette: Path, tagger: Path) -> None:
    programs.one_line(programs.run(PROGRAM, "nowhere"), "nowhere is not a palette")
    programs.one_line(programs.run(PROGRAM, tagger), "the palette is for token-classification")
    programs.one_line(programs.run(PROGRAM, palette, "--max-latency-ms", 0), "max_latency_ms is 0.0")
    programs.one_line(programs.run(PROGRAM, palette, "--port", 99999), "--port 99999: ")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        programs.one_line(programs.run(PROGRAM, palette, "--port", port), f"--port {port}: ")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_the_unit_is_one_that_systemd_takes_and_calls_safe(tmp_path: Path) -> None:
    text = (programs.EXAMPLES / "low_latency" / "edgedistill.service").read_text()
    unit = tmp_path / "edgedistill.service"
    unit.write_text(text.replace("/opt/edgedistill/venv/bin/python", sys.executable))
    for check in (["verify"], ["security", "--offline=true", "--threshold=20"]):
        done = subprocess.run(["systemd-analyze", *check, unit], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "edgedistill.service:" not in done.stderr


def test_what_a_label_hides_is_escaped_in_the_answer(tmp_path: Path) -> None:
    labels = [f"{number}\x1b[2J\x7f\x9b\u202e\u2028é" for number in range(3)]
    folder = tiny_palette.reseal(tiny_palette.write(tmp_path / "palette"), labels=labels)
    port = programs.free_port()
    with service(programs.command(PROGRAM, folder, "--port", port, "--max-latency-ms", 2000), port):
        sent = HEAD.replace(b"28", b"16") + b'{"text": "lamp"}'
        connection = connect(port, sent)
        received = b""
        while b"}" not in received:
            received += connection.recv(1 << 16)
        connection.close()
    status, found = answer_in(received)
    assert (status, found["label"] in labels) == (200, True)
    assert all(32 <= byte < 127 for byte in received.partition(b"\r\n\r\n")[2])
