"""What the gateway says of each request: one JSON line on standard error, and a count. Neither holds anything of a photo.

In: every request, through a middleware that also sends the security headers and turns an unforeseen error into a clean answer.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.gateway.metrics import Metrics

log = logging.getLogger("pawflow.gateway")

#: Nobody is there any more to receive a status; by nginx's convention it is logged as this one.
_CLIENT_GONE = 499

#: Sent with everything: a page that loads nothing from elsewhere and cannot be framed.
_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and whatever was passed as `extra={"fields": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging() -> None:
    """Send every log line of this process to standard error as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").disabled = True


class Observer:
    """ASGI middleware around everything: request ids, security headers, the log line, the count, and an answer where code failed."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap `app`."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, request_id = time.perf_counter(), 0, secrets.token_hex(8)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = {**_HEADERS, "x-request-id": request_id}
                message["headers"] = [*message["headers"], *((name.encode(), value.encode()) for name, value in extra.items())]
            await send(message)

        # HEAD is GET of which the server sends no body; routes need not know.
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self._app(inner, receive, send_with_headers)
        except ClientDisconnect:
            status = _CLIENT_GONE
        except Exception:
            log.exception("a request failed for a reason that nobody foresaw", extra={"fields": {"request_id": request_id}})
            if status:
                raise
            text = f"something went wrong in the server; its log has the details under request {request_id}"
            answer = JSONResponse({"error_code": "INTERNAL_ERROR", "message": text}, 500)
            await answer(scope, receive, send_with_headers)
        finally:
            self._note({**inner, "method": scope["method"]}, status or _CLIENT_GONE, request_id, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, request_id: str, seconds: float) -> None:
        # The pattern of the address, not the address itself: callers choose that, and every one would be a series of its own.
        route = getattr(scope.get("route"), "path", "") or "other"
        known = scope["method"] in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE")
        self._metrics.requests.labels(scope["method"] if known else "other", route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if route in ("/healthz", "/readyz", "/metrics") and status < 400:
            return
        fields = {
            "request_id": request_id,
            "method": scope["method"][:10],
            "route": route,
            "status": status,
            "milliseconds": round(1000 * seconds, 1),
            "client": (scope.get("client") or ("unknown",))[0],
        }
        log.log(logging.WARNING if status >= 500 else logging.INFO, "request", extra={"fields": fields})
