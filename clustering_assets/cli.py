"""The command ``clustering-assets``: thin on top of the modules that do what it says.

What is heavy is imported inside the commands, so that help and completion come at once.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend
    from rich.console import Console

    from clustering_assets.config import Environment
    from clustering_assets.reports.findings import Findings

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


def _segments(incomplete: str) -> list[tuple[str, str]]:
    """Complete ids and names of segments; nothing where they cannot be read at once."""
    import duckdb

    try:
        with duckdb.connect(str(_environment().home / "warehouse.duckdb"), read_only=True) as connection:
            rows = connection.execute("select segment_id::varchar, segment_name from gold.segment_profiles").fetchall()
    except (duckdb.Error, typer.Exit):
        return []
    offered = [*rows, *((name, f"segment {number}") for number, name in rows)]
    # what was typed stays as it is, small letters too: shells take no completion that begins otherwise
    return [
        (incomplete + text[len(incomplete) :], meaning)
        for text, meaning in offered
        if text.casefold().startswith(incomplete.casefold())
    ]


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
def segments(as_json: AsJson = False) -> None:
    """List the segments: how large they are, what they stand for, what their returns cost."""
    from clustering_assets.reports.terminal import print_segments

    with _warehouse() as backend:
        findings = _findings(backend)
    if as_json:
        rows = [_without(asdict(segment), "differences", "means", "medians") for segment in findings.segments]
        _print_json({**_fit(findings), "segments": rows})
    else:
        print_segments(_console(), findings)


@app.command()
def customer(
    customer_id: Annotated[
        str, typer.Argument(metavar="ID", help="As a source writes it, or its pseudonym; - reads it from the input.")
    ],
    as_json: AsJson = False,
) -> None:
    """Say why a customer is in a segment. The id stands in the history of the shell, unless it is read with -."""
    from clustering_assets.reports.answers import find_customer
    from clustering_assets.reports.terminal import print_customer

    written = sys.stdin.readline().strip() if customer_id == "-" else customer_id
    with _warehouse() as backend:
        found = find_customer(backend, written, _environment().pseudonym_key)
    if as_json:
        _print_json({**asdict(found), "imputed": found.imputed})
    else:
        print_customer(_console(), found)


@app.command(context_settings={"ignore_unknown_options": True})  # -1 is the outliers, and no option
def explain(
    segment: Annotated[
        list[str], typer.Argument(help="Id or name of a segment, or how its name begins.", autocompletion=_segments)
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a segment is: its size, what sets it apart, what to do and what that could save."""
    from clustering_assets.reports.answers import find_segment, spreads, sub_segments
    from clustering_assets.reports.terminal import print_segment

    with _warehouse() as backend:
        findings = _findings(backend)
        found = find_segment(findings.segments, " ".join(segment))
        parts, figures = sub_segments(backend, found), spreads(backend, found)
    if as_json:
        _print_json(
            {
                **_fit(findings),
                **_without(asdict(found), "means", "medians"),
                "sub_segments": [asdict(part) for part in parts],
                "figures": [asdict(figure) for figure in figures],
            }
        )
    else:
        print_segment(_console(), found, parts, figures)


_ModelRun = Annotated[
    str | None, typer.Argument(help="Model run id, or how it begins; gold.segment_model has them.", show_default=False)
]


@app.command()
def diff(before: _ModelRun = None, now: _ModelRun = None, as_json: AsJson = False) -> None:
    """Compare the newest fit with the one before, or any two: sizes, who went where, drift, quality."""
    from clustering_assets.reports.answers import compare_fits
    from clustering_assets.reports.terminal import print_comparison

    with _warehouse() as backend:
        compared = compare_fits(backend, _findings(backend), before, now)
    if as_json:
        _print_json(asdict(compared))
    else:
        print_comparison(_console(), compared)


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


@contextmanager
def _warehouse() -> Iterator["Backend"]:
    """Open the warehouse for reading; what a person can act on ends the command with one sentence."""
    from clustering_assets.reports.answers import NoAnswer
    from clustering_assets.reports.findings import NothingToReport
    from clustering_assets.warehouse import Warehouse, WarehouseUnavailable

    environment = _environment()
    try:
        with Warehouse(environment.home, environment.memory_limit, environment.lock_wait).read() as backend:
            yield backend
    except (NoAnswer, NothingToReport, WarehouseUnavailable) as error:
        _stop(str(error))


def _environment() -> "Environment":
    from clustering_assets.config import BadSetting, read_environment

    try:
        return read_environment()
    except BadSetting as error:
        _stop(str(error))


def _findings(backend: "Backend") -> "Findings":
    from clustering_assets.reports.findings_tables import read_findings

    return read_findings(backend, most_customers=0)


def _fit(findings: "Findings") -> dict[str, Any]:
    return {
        "model_run_id": findings.fit.model_run_id,
        "fitted_at": findings.fit.fitted_at,
        "as_of": findings.as_of,
    }


def _without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False, markup=False)


def _print_json(what: object) -> None:
    print(json.dumps(what, indent=2, default=str))


def _stop(why: str) -> NoReturn:
    typer.echo(why, err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
