"""The command line `semivl prepare | train | eval | predict | concepts`, and the place where errors become exits."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from semivl_cli import __version__
from semivl_cli.cli.concepts import app as concepts_app
from semivl_cli.cli.console import one_line, open_streams
from semivl_cli.cli.evaluate import evaluate
from semivl_cli.cli.options import remedy
from semivl_cli.cli.predict import predict
from semivl_cli.cli.prepare import app as prepare_app
from semivl_cli.cli.train import train
from semivl_cli.engine.signals import leave_closed_terminal
from semivl_cli.errors import SemiVLError
from semivl_cli.files import FULL
from semivl_cli.limits import check_variables
from semivl_cli.processes import import_nothing_from_here

_CLICK_ERROR: type[BaseException] = next(k for k in typer.BadParameter.__mro__ if k.__name__ == "ClickException")
"""What wrong options raise; some versions of Typer carry their own copy of click."""


class _Terminated(BaseException):
    """SIGTERM or SIGHUP, its argument, where nobody asked to hear of it: half-written files go on the way out."""


class _Group(TyperGroup):
    """Turns what a command raises into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - click's context; whatever the command returns
        """Run a command."""
        try:
            check_variables()
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except SemiVLError as error:
            if str(error):
                typer.echo(f"semivl: {one_line(str(error))}", err=True)
            raise SystemExit(error.exit_code) from None
        except (KeyboardInterrupt, _Terminated) as error:
            typer.echo("semivl: stopped", err=True)
            number = error.args[0] if isinstance(error, _Terminated) else signal.SIGINT
            raise SystemExit(128 + number) from None
        except BrokenPipeError:  # the reader of stdout went away, as `head` does
            _show_nothing_more()
            raise SystemExit(0) from None
        except OSError as error:  # of the machine: no permission, no room, no such temporary folder
            _show_nothing_more()
            where = f"{error.filename}: " if error.filename is not None else ""
            typer.echo(f"semivl: {where}{error.strerror or error}", err=True)
            raise SystemExit(3 if error.errno in FULL else 2) from None
        except (_CLICK_ERROR, typer.Exit, typer.Abort) as error:
            _say_remedy(error)
            raise
        except Exception:
            traceback.print_exc()
            typer.echo("semivl: this is a bug in semivl, not your mistake; please report the lines above", err=True)
            raise SystemExit(70) from None


def _show_nothing_more() -> None:
    """Let what stdout has not written yet go nowhere: it would be tried again at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say_remedy(error: BaseException) -> None:
    """Leave with one line where an option that a command does not have is a setting, or has another name here."""
    option, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if option is None or context is None or type(error).__name__ != "NoSuchOption":
        return
    known = [name for parameter in context.command.params for name in parameter.opts]
    if advice := remedy(option, known):
        typer.echo(f"semivl: {context.command_path.partition(' ')[2]} has no option {option}: {advice}", err=True)
        raise SystemExit(2) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"semivl {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(epilog="First steps: semivl train, then: semivl predict images/ --out masks/")
def semivl(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train a segmentation model from a few labelled images, many unlabelled ones and the words of a guideline."""


app.add_typer(prepare_app, name="prepare")
app.command()(train)
app.command("eval")(evaluate)
app.command()(predict)
app.add_typer(concepts_app, name="concepts")


def main() -> None:
    """Run the program."""
    open_streams()
    _check_working_directory()
    # A thread that waits for another must sleep, not spin: beside any other busy program, spinning threads take the
    # cores from the very threads they wait for, and a step takes tens of times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # what an Apple GPU cannot do, the CPU does
    import_nothing_from_here()
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # not on Windows
    heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]  # as nohup leaves SIGHUP
    for number in heard:
        signal.signal(number, _terminate)
    try:
        app()
    finally:  # on the way out nothing is left to be tidied, and nobody could hear of it
        for number in heard:
            signal.signal(number, signal.SIG_DFL)


def _check_working_directory() -> None:
    """Refuse to begin where no relative name leads anywhere, and libraries end the process without a word."""
    try:
        Path.cwd()
    except OSError as error:
        typer.echo(f"semivl: the working directory is gone ({error.strerror}): cd to one that is there", err=True)
        raise SystemExit(2) from None


def _terminate(number: int, frame: FrameType | None) -> None:
    leave_closed_terminal()
    raise _Terminated(number)
