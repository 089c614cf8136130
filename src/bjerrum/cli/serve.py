"""``serve``: browse a database in a web page."""

from __future__ import annotations

import ipaddress
import socket
from typing import Annotated

import typer

from bjerrum.cli.database import DEFAULT, DatabaseName


def serve(
    place: DatabaseName = DEFAULT,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any free one.", min=0, max=65535)] = 8765,
    token: Annotated[
        str | None,
        typer.Option(help="That readers must give; made up if needed.", envvar="BJERRUM_TOKEN"),
    ] = None,
) -> None:
    """Show a database as a local, read-only web page, without any network."""
    from bjerrum.database import Database
    from bjerrum.errors import ExternalError, InputError

    try:
        import uvicorn

        from bjerrum.web import create_app
        from bjerrum.web.security import new_token
    except ImportError as error:
        raise ExternalError(
            f"the web page needs {error.name}; install it with pip install 'bjerrum[web]'"
        ) from error
    if token is not None and len(token) < 16:
        raise InputError(f"--token: expected at least 16 characters, got {len(token)}")
    token = token or (None if _is_loopback(host) else new_token())
    with Database.open(place, read_only=True) as database:
        listener = _listen(host, port)
        address = _address(host, listener.getsockname()[1])
        typer.echo(f"{address}/?token={token}" if token else f"{address}/")
        settings = uvicorn.Config(
            create_app(database, token=token), log_level="warning", access_log=False
        )
        uvicorn.Server(settings).run(sockets=[listener])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    from bjerrum.errors import InputError

    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
    except OSError as error:
        raise InputError(
            f"cannot listen on {host} port {port} ({error.strerror}); choose another --host or "
            "--port"
        ) from error
    listener.listen(128)
    return listener


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
