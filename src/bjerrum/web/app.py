"""The application: pages and data of one database, behind the guard."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.middleware.gzip import GZipMiddleware

from bjerrum import __version__
from bjerrum.database import Database
from bjerrum.errors import BjerrumError, ExternalError, InputError
from bjerrum.web import api, pages
from bjerrum.web.assets import asset
from bjerrum.web.security import Guard


def create_app(database: Database, *, token: str | None = None) -> FastAPI:
    """Return the application that shows a database.

    database  open, read-only
    token     that every request must bring; None where only this machine can ask
    """
    app = FastAPI(
        title="Bjerrum", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.database = database
    app.include_router(api.router)
    app.include_router(pages.router)
    app.add_api_route("/static/{name}", _static, include_in_schema=False)
    app.add_exception_handler(BjerrumError, _refuse)
    app.add_exception_handler(404, _not_found)
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=4)
    app.add_middleware(Guard, token=token)
    return app


def _static(name: str) -> Response:
    found = asset(name)
    if found is None:
        return Response("no such file", 404, media_type="text/plain")
    headers = {"Cache-Control": "private, max-age=86400"}
    if found.encoding:
        headers["Content-Encoding"] = found.encoding
    return Response(found.content, media_type=found.media_type, headers=headers)


def _refuse(request: Request, error: Exception) -> Response:
    """Answer a foreseen failure: 404 for what is not there, 400 for wrong input, 503 else."""
    missing = isinstance(error, InputError) and ("none begins" in str(error))
    code = 503 if isinstance(error, ExternalError) else 404 if missing else 400
    return _answer(request, code, str(error))


def _not_found(request: Request, error: Exception) -> Response:
    return _answer(request, 404, "there is no such page")


def _answer(request: Request, code: int, message: str) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": message}, code)
    return HTMLResponse(pages.render("error.html.j2", code=code, message=message), code)
