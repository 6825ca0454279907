"""Receive HTTP for `serve.py`: a time limit for each request, a bound on connections, errors as JSON."""

from __future__ import annotations

import asyncio
import json
import socket
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 512  # the usual limit of open files is 1024
ARRIVAL_S = 5.0  # for a whole request


def bind(port: int) -> socket.socket:
    """Return a socket for this machine's own programs.

    Raises:
        OSError: there is no such port, another program has it, or this user may not have it.
    """
    # Named as TCP, so that asyncio sends small answers at once.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()  # else two programs could have it
    except (OSError, OverflowError) as error:
        listener.close()
        raise OSError(f"--port {port}: {error}") from error
    return listener


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1 within these limits."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse one connection too many; start the clock of others."""
        super().connection_made(transport)
        self._watch(True)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._watch(False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Look whether the request is whole now."""
        super().data_received(data)
        self._watch(self._is_arriving())

    def on_response_complete(self) -> None:
        """Look whether a part of the next request is here already."""
        super().on_response_complete()
        self._watch(self._is_arriving())

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._refuse(400, msg)

    def _is_arriving(self) -> bool:
        """Return whether a part of a request is here, and not yet all."""
        state = self.conn.their_state
        return state is h11.SEND_BODY or (state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def _watch(self, arriving: bool) -> None:
        """Run the clock while a request arrives, from its first byte."""
        if arriving and self._late is None:
            self._late = self.loop.call_later(ARRIVAL_S, self._refuse, 408, f"no whole request within {ARRIVAL_S:g} s")
        elif not arriving and self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, status: int, error: str) -> None:
        """Answer in the application's place, unless that has begun to, and hang up."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self.transport.is_closing():
            body = json.dumps({"error": error})
            head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            self.transport.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        self.transport.close()
