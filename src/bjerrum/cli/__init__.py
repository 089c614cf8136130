"""The command line: one subcommand per arrow of the method, each usable on a user's own files.

Machine-readable results go to stdout (``--json``), progress and messages to stderr. Exit codes:
0 done; 2 the input is wrong; 3 a physical check failed; 4 an external program or the disk failed;
130 interrupted. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import errno
import signal
import sys
from types import FrameType
from typing import Annotated

import typer
from typer.exceptions import TyperException

from bjerrum import __version__
from bjerrum.cli.analyse import analyse
from bjerrum.cli.bench import bench
from bjerrum.cli.campaign import clean, plan, status
from bjerrum.cli.chain import build, report, run
from bjerrum.cli.coarsen import coarsen
from bjerrum.cli.database import database
from bjerrum.cli.doctor import doctor
from bjerrum.cli.ions import ions
from bjerrum.cli.kirkwood_buff import activity, kirkwood_buff
from bjerrum.cli.labels import label, sample, separations
from bjerrum.cli.pairing import pairing
from bjerrum.cli.potentials import check, committee, evaluate, export, train
from bjerrum.cli.scattering import scattering, screening
from bjerrum.cli.serve import serve
from bjerrum.cli.simulate import simulate
from bjerrum.cli.solve import solve
from bjerrum.cli.transport import transport
from bjerrum.errors import BjerrumError, Interrupted

app = typer.Typer(
    help="Electrolyte solutions from first principles: structure, transport, thermodynamics.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for measurement in (kirkwood_buff, activity, scattering, screening, transport, pairing):
    analyse.command(measurement.__name__.replace("_", "-"))(measurement)
app.add_typer(analyse, name="analyse")
app.add_typer(bench, name="bench")
app.add_typer(database, name="database")
app.add_typer(ions, name="ions")

for command in (
    run,
    plan,
    status,
    clean,
    report,
    build,
    sample,
    separations,
    label,
    train,
    committee,
    evaluate,
    check,
    export,
    simulate,
    coarsen,
    solve,
    doctor,
    serve,
):
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bjerrum {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; turn every foreseen failure into one line and its exit code."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        code = app(standalone_mode=False)
    except BjerrumError as error:
        _stop(str(error), error.exit_code)
    except TyperException as error:
        _refuse_usage(error)
    except (typer.Abort, KeyboardInterrupt):
        _stop("interrupted; run the same command again to go on", 130)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            _stop("the disk is full; free some space and run again", 4)
        if error.errno == errno.EPIPE:
            sys.exit(0)
        raise
    sys.exit(code if isinstance(code, int) else 0)


def _refuse_usage(error: TyperException) -> None:
    """Say in one line what is wrong with the options; a bare group of commands prints its help."""
    message = getattr(error, "format_message", error.__str__)()
    context = getattr(error, "ctx", None)
    if not message.strip():  # a group of commands alone: typer has printed its help
        sys.exit(2)
    path = context.command_path if context is not None else "bjerrum"
    _stop(f"{message.rstrip('.')}; see {path} --help", 2)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted("interrupted; run the same command again to go on")


def _stop(message: str, code: int) -> None:
    typer.echo(f"bjerrum: {' '.join(message.split())}", err=True)
    sys.exit(code)
