"""Who may read, and what a browser may do with it.

Without a token only this machine can ask, under its own names: a foreign page that points its
name at 127.0.0.1 is refused. With a token nothing is readable without it. A page may load nothing
from elsewhere and run no script but ours.
"""

from __future__ import annotations

import secrets
from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE: Final = "bjerrum_token"
LOCAL_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' data: blob:; connect-src 'self'; worker-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Neither scripts nor styles in the page itself; plotly's are a file, see :mod:`.plotly_style`."""


class Guard:
    """The outermost layer of the application: checks a request before anything else sees it.

    token  that every request must bring; None where only this machine can ask
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(Request(scope))
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        else:
            await refusal(scope, receive, _with_headers(send))

    def _refusal(self, request: Request) -> Response | None:
        if self._token is None:
            return None if _is_local(request) else PlainTextResponse("unknown host", 400)
        return self._without_token(request, self._token)

    def _without_token(self, request: Request, token: str) -> Response | None:
        """Return None where the request has the token; take it from the address into a cookie."""
        brought = request.headers.get("authorization", "").removeprefix("Bearer ")
        if _same(brought, token) or _same(request.cookies.get(COOKIE, ""), token):
            return None
        if _same(request.query_params.get("token", ""), token):
            kept = [(k, v) for k, v in parse_qsl(request.url.query) if k != "token"]
            path = "/" + request.url.path.lstrip("/")
            answer = RedirectResponse(path + (f"?{urlencode(kept)}" if kept else ""), 303)
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return answer
        return PlainTextResponse("give the address with its token, as bjerrum serve prints it", 401)


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(24)


def _same(brought: str, token: str) -> bool:
    return secrets.compare_digest(brought.encode("utf-8", "replace"), token.encode())


def _is_local(request: Request) -> bool:
    host = request.headers.get("host", "")
    return host.rpartition(":")[0] in LOCAL_NAMES or host in LOCAL_NAMES


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            added = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
            added.append((b"cache-control", b"no-store"))
            message["headers"] = [
                *message["headers"],
                *((name, value) for name, value in added if name not in names),
            ]
        await send(message)

    return send_with_headers
