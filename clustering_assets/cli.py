"""The command ``clustering-assets``: thin on top of the modules that do what it says.

What is heavy is imported inside the commands, so that help and completion come at once.
"""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="clustering-assets",
    help="Customer segments from order lines with returns: run, ask, compare, check the environment.",
    epilog="Settings are environment variables, such as CLUSTERING_HOME: the README lists them. "
    "0: fine; 1: it did not work, and the error output says why; 2: the command was not understood.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead, with keys that stay: docs/command_line.md.")]


@app.callback()
def before_every_command() -> None:
    """Customer segments from order lines with returns: run, ask, compare, check the environment."""
    logging.basicConfig(format="%(message)s")


@app.command()
def run(
    as_json: AsJson = False,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with the config of the run, as the launchpad of the UI takes it.")
    ] = None,
) -> None:
    """Run everything: files to bronze, silver, gold and exports."""
    from clustering_assets.run import main as run_everything

    raise typer.Exit(run_everything(as_json=as_json, config=config))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Look whether everything is there that is needed, and say what to do where not."""
    from clustering_assets.doctor import Verdict, examine
    from clustering_assets.reports.terminal import print_findings

    findings = list(examine())
    broken = [finding for finding in findings if finding.verdict is Verdict.BROKEN]
    if as_json:
        _print_json({"findings": [asdict(finding) for finding in findings], "broken": len(broken)})
    else:
        print_findings(_console(), findings)
    if broken:
        _stop(f"{len(broken)} of {len(findings)} findings have to be mended.")


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, markup=False)


def _print_json(what: object) -> None:
    print(json.dumps(what, indent=2, default=str))


def _stop(why: str) -> None:
    typer.echo(why, err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
