"""Label texts over HTTP for the programs of this machine: POST /classify {"text": "..."}, GET /health.

Usage: python serve.py PALETTE [--port 8040] [--max-latency-ms 20] [--allow-host NAME]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict

import uvicorn
from connections import Protocol, bind
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from edgedistill.errors import EdgeDistillError, InputError
from edgedistill.runtime import AdaptiveSession, TextClassifier

MAX_BODY_BYTES = 64 * 1024
MAX_WAITING = 32
REFUSAL_DELAY_S = 1.0  # of a client that comes again at once, so that refusing many costs next to nothing
HOSTS = ("127.0.0.1", "localhost")


def plain_json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON in ASCII, so that a label's control characters cannot steer a client's terminal."""
    body = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("\x7f", "\\u007f")
    return Response(body, status, headers, "application/json")


async def text_of(request: Request) -> str:
    """Return the text in the body, of which no more is read than it may have."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "expected Content-Type: application/json")  # no web page may send that elsewhere
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
    try:
        text = json.loads(body)["text"]
    except (ValueError, LookupError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise HTTPException(400, 'expected a JSON object with a "text"')
    return text


async def refused(_: Request, error: Exception) -> Response:
    """Give every error the same shape."""
    if isinstance(error, ClientDisconnect):
        return Response()  # which nobody reads
    status = 400 if isinstance(error, InputError) else 500
    detail = str(error) if isinstance(error, EdgeDistillError) else "the service failed; its log says why"
    known = error if isinstance(error, HTTPException) else HTTPException(status, detail)
    return plain_json({"error": known.detail}, known.status_code, known.headers)


def application(session: AdaptiveSession, max_latency_ms: float, hosts: Collection[str] = HOSTS) -> Starlette:
    """Return the routes over a session, which stays the caller's to close."""
    classifier = TextClassifier(session)
    turn = asyncio.Lock()  # a run has all the cores: two beside each other would each take longer than was profiled
    under_way = 0

    def check_host(request: Request) -> None:
        name = request.headers.get("host", "").rpartition(":")
        if (name[0] if name[2].isdecimal() else "".join(name)).lower() not in hosts:
            raise HTTPException(400, "unknown Host; --allow-host adds one")  # a web page's own name may lead here

    async def classify(request: Request) -> Response:
        nonlocal under_way
        start_s = time.perf_counter()
        check_host(request)
        text = await text_of(request)
        if under_way > MAX_WAITING:
            await asyncio.sleep(REFUSAL_DELAY_S)
            raise HTTPException(503, "too many requests wait", {"Retry-After": "1"})
        under_way += 1
        try:
            async with turn:
                if await request.is_disconnected():
                    raise ClientDisconnect
                left_ms = max_latency_ms - (time.perf_counter() - start_s) * 1e3
                # Those that wait have deadlines, too: an equal share. In a thread, so that the loop goes on.
                (found,) = await asyncio.to_thread(classifier.classify, [text], deadline_ms=left_ms / under_way)
        finally:
            under_way -= 1
        return plain_json(asdict(found))

    async def health(request: Request) -> Response:
        check_host(request)
        return plain_json({"subnet": session.active, "swaps": session.swaps, "explain": session.explain()})

    handlers = dict.fromkeys((HTTPException, EdgeDistillError, ClientDisconnect, Exception), refused)
    routes = [Route("/classify", classify, methods=["POST"]), Route("/health", health)]
    return Starlette(routes=routes, exception_handlers=handlers)


def main() -> None:
    """Serve until SIGTERM, SIGHUP or Ctrl-C; requests under way get their answers."""
    parser = argparse.ArgumentParser(description="Label texts over HTTP on 127.0.0.1.")
    parser.add_argument("palette")
    parser.add_argument("--port", type=int, default=8040)
    parser.add_argument("--max-latency-ms", dest="budget_ms", type=float, default=20.0)
    parser.add_argument("--allow-host", action="append", default=[], help="Answer requests to this host name too.")
    options = parser.parse_args()
    with bind(options.port) as listener, AdaptiveSession(options.palette, max_latency_ms=options.budget_ms) as session:
        app = application(session, options.budget_ms, [*HOSTS, *map(str.lower, options.allow_host)])
        # uvicorn raises the signal again once it has ended; by default that would kill before the session is closed.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        config = uvicorn.Config(app, http=Protocol, ws="none", access_log=False, timeout_graceful_shutdown=10)
        print(f"serve: http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    try:
        main()
    except (EdgeDistillError, OSError) as error:
        sys.exit(f"serve: {error}")
