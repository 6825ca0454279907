"""Label texts over HTTP for the programs of this machine: POST /classify {"text": "..."}, GET /health.

Usage: python serve.py PALETTE [--port 8040] [--max-latency-ms 20]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from dataclasses import asdict

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from edgedistill.errors import EdgeDistillError, InputError
from edgedistill.runtime import AdaptiveSession, TextClassifier

MOST_BYTES = 64 * 1024
MOST_WAITING = 32


async def text_of(request: Request) -> str:
    """The text in the body, of which no more is read than it may have."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"the body is longer than {MOST_BYTES} bytes")
    try:
        text = json.loads(body)["text"]
    except (ValueError, LookupError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise HTTPException(400, 'expected a JSON object with a "text"')
    return text


async def refused(_: Request, error: Exception) -> JSONResponse:
    """Every error in the same shape."""
    known = error if isinstance(error, HTTPException) else HTTPException(400, str(error))
    return JSONResponse({"error": known.detail}, known.status_code, known.headers)


def application(session: AdaptiveSession, max_latency_ms: float) -> Starlette:
    """The routes over a session, which stays the caller's to close."""
    classifier = TextClassifier(session)
    turn = asyncio.Lock()  # a run has all the cores: two beside each other would each take longer than was profiled
    under_way = 0

    async def classify(request: Request) -> JSONResponse:
        nonlocal under_way
        start_s = time.perf_counter()
        text = await text_of(request)
        if under_way > MOST_WAITING:
            raise HTTPException(503, "too many requests wait", {"Retry-After": "1"})
        under_way += 1
        try:
            async with turn:
                left_ms = max_latency_ms - (time.perf_counter() - start_s) * 1e3
                # In a thread, so that the loop goes on meanwhile.
                (found,) = await asyncio.to_thread(classifier.classify, [text], deadline_ms=left_ms)
        finally:
            under_way -= 1
        return JSONResponse(asdict(found))

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"subnet": session.active, "swaps": session.swaps, "explain": session.explain()})

    routes = [Route("/classify", classify, methods=["POST"]), Route("/health", health)]
    return Starlette(routes=routes, exception_handlers={HTTPException: refused, InputError: refused})


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way get their answers."""
    parser = argparse.ArgumentParser(description="Label texts over HTTP on 127.0.0.1.")
    parser.add_argument("palette")
    parser.add_argument("--port", type=int, default=8040)
    parser.add_argument("--max-latency-ms", type=float, default=20.0)
    given = parser.parse_args()
    with AdaptiveSession(given.palette, max_latency_ms=given.max_latency_ms) as session:
        app = application(session, given.max_latency_ms)
        # uvicorn raises the signal again once it has ended; by default that would kill before the session is closed.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        uvicorn.run(app, host="127.0.0.1", port=given.port, access_log=False, timeout_graceful_shutdown=10)


if __name__ == "__main__":
    try:
        main()
    except EdgeDistillError as error:
        sys.exit(f"serve: {error}")
