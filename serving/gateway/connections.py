"""Connections that cannot be held for nothing: uvicorn's HTTP protocol, with a limit on how long and how many may wait for their caller.

Uvicorn waits without end for the rest of a request's head, and a byte now and then keeps a connection for ever; so does who asks on and
never reads the answers. Here a connection whose caller is to send a request has so many seconds for it, however it drips, and one whose
caller is to take answers has as many for each part of them; and when there are too many connections, the one that has waited for its
caller the longest goes, so that those who ask in earnest get in. Reading a body in time is the application's part (`bodies.py`).
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.gateway.settings import Settings


class BoundedProtocol(H11Protocol):
    """One connection; `server_options` makes a class of these for each server.

    Attributes:
        head_seconds: Time that a caller has for the head of a request, and for taking any of the answers that are here already.
        max_connections: Connections at a time.
        owing: Those whose caller is to send or to take something, the longest first.
    """

    head_seconds: float
    max_connections: int
    owing: dict[BoundedProtocol, None]

    _deadline: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._wait_for_caller()
        while len(self.owing) and len(self.connections) > self.max_connections:
            next(iter(self.owing)).drop()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if not self._refused:
            super().data_received(data)
            self._note_progress()

    def on_response_complete(self) -> None:
        """The answer is on its way: the next request may come, of which a part may be here already."""
        self._wait_for_caller()
        super().on_response_complete()
        self._note_progress()

    def pause_writing(self) -> None:
        """Answers lie here that the caller does not take; until it does, no other begins."""
        super().pause_writing()
        self._wait_for_caller()

    def resume_writing(self) -> None:
        """Most of them are taken, and the next may go."""
        super().resume_writing()
        self._note_progress()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._forget()
        # Uvicorn leaves its own timer running where the caller broke off.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, in the form of all other answers; if another answer has begun there is nothing to add."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error_code": "BAD_REQUEST", "message": "this is not HTTP/1.1, or its head is larger than 16 kB"}).encode()
            headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
            events: list[h11.Event] = [h11.Response(status_code=400, headers=headers, reason=b"Bad Request"), h11.Data(data=body)]
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in [*events, h11.EndOfMessage()]))
        if self.cycle is not None:
            # The application may still be reading the body that broke off here.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        # Closing now would reset the connection under a caller that is still sending, and our answer would be lost with it.
        self._refused = True
        self._wait_for_caller()
        self.transport.write_eof()

    def drop(self) -> None:
        """End the connection at once, with what is not sent yet."""
        self._forget()
        # Unlisted here already: the loop tells of the loss only later.
        self.connections.discard(self)
        self.transport.abort()

    def _wait_for_caller(self) -> None:
        self._forget()
        untaken = self.transport.get_write_buffer_size()
        if untaken or not self.transport.is_closing():
            self.owing[self] = None
            self._deadline = self.loop.call_later(self.head_seconds, self._end_wait, untaken)

    def _end_wait(self, untaken: int) -> None:
        if self.transport.get_write_buffer_size() < untaken:
            # A slow line, it may be: as long again for the rest.
            self._wait_for_caller()
        else:
            self.drop()

    def _note_progress(self) -> None:
        if self._refused or self.flow.write_paused or self.cycle is None or self.cycle.response_complete:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.cycle.more_body:
            self.owing.pop(self, None)

    def _forget(self) -> None:
        self.owing.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()


def server_options(settings: Settings) -> dict[str, Any]:
    """What `uvicorn.Config` takes so that the limits of `settings` hold for connections; each call is for one server."""
    limits = {"head_seconds": settings.head_seconds, "max_connections": settings.max_connections, "owing": {}}
    return {
        "http": type("Connection", (BoundedProtocol,), limits),
        # There are none, and the limits above would not hold for them.
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
    }
