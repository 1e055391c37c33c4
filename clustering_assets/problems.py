"""What is wrong at the moment, in words, and what of it is news to somebody who was told before.

A problem has a key that stays the same for as long as it lasts: a job that fails ten nights in a row is one problem.
Nothing here quotes what may hold a customer id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

MOST_IN_FULL = 5
"""Of the problems of one message: the others are named by their titles."""

_MOST_TITLES = 20
_LONGEST_QUOTE = 600
"""Characters."""

_SILENT = "/silent"
_PAGE = "docs/operations.md"
_DRIFT = {"largest_feature_drift", "segment_size_drift"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that somebody has to look at.

    Parameters
    ----------
    key
        What stays the same as long as the problem lasts.
    title
        What broke, of which asset or job.
    since
        When it was found (UTC).
    what
        What is known about it.
    advice
        What to do, in a sentence or two.
    section
        Title of the section of docs/operations.md that says more.
    path
        Of the page in the UI.
    """

    key: str
    title: str
    since: datetime
    what: str
    advice: str
    section: str
    path: str


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody was told of a problem."""

    title: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: a title and a plain text."""

    title: str
    text: str
    bad: bool


@dataclass(frozen=True, slots=True)
class FailedStep:
    """A step of a run that failed.

    Parameters
    ----------
    step
        Its name.
    sentence
        What the project itself says about it; empty for a fault that it did not expect.
    error
        Type of the exception. Its message is not here, since nobody knows what it quotes.
    """

    step: str
    sentence: str
    error: str


def run_failed(key: str, what_ran: str, run_id: str, since: datetime, steps: Sequence[FailedStep]) -> Problem:
    """Return the problem of a run that failed, or whose process ended before it did."""
    said = [
        f"{step.step}: {_quoted(step.sentence)}" if step.sentence else f"{step.step} ended with {step.error}."
        for step in steps
    ]
    return Problem(
        key=f"run/{key}",
        title=f"The run of {what_ran} failed",
        since=since,
        what="\n".join(said) or "No step failed: the process of the run ended, or never began.",
        advice="The tables are as they were before the step that failed. Mend what it says and run it again; the log "
        "of the run has the rest.",
        section="A run failed",
        path=f"/runs/{run_id}",
    )


def check_failed(
    asset: Sequence[str], check: str, since: datetime, said: str, *, blocking: bool, limited: bool = False
) -> Problem:
    """Return the problem of a check that failed; ``limited`` ones compare a figure with its limit and say what to do.

    What a check says of files is quoted without what is in brackets: that is where contents are.
    """
    name = "/".join(asset)
    if blocking:
        advice = "Nothing that depends on the table was computed. Find the cause, mend it and run everything again."
    elif limited:
        advice = "Nothing was stopped: look before you act on the segments."
    else:
        advice = "Nothing was stopped: look at what it found before you use the table."
    return Problem(
        key=f"check/{name}/{check}",
        title=f"The check {check} of {name} {'failed' if blocking else 'warns'}",
        since=since,
        what=_quoted(said) or "It says nothing more.",
        advice=advice,
        section="Drift" if check in _DRIFT else "A check failed",
        path=f"/assets/{'/'.join(quote(part, safe='') for part in asset)}?view=checks&checkDetail={quote(check)}",
    )


def silent(kind: str, name: str, last: datetime, path: str, *, running: bool) -> Problem:
    """Return the problem of a sensor or schedule that gave no sign of life when it should have."""
    return Problem(
        key=f"{kind}/{name}{_SILENT}",
        title=f"The {kind} {name} is silent",
        since=last,
        what=f"Its last tick was at {_moment(last)}." if running else "It is switched off.",
        advice=f"Switch the {kind} on and see that the daemon runs: until then nothing starts by it.",
        section="A sensor is silent",
        path=path,
    )


def failing(kind: str, name: str, last: datetime, error: str, path: str) -> Problem:
    """Return the problem of a sensor or schedule whose ticks fail."""
    return Problem(
        key=f"{kind}/{name}/failing",
        title=f"The {kind} {name} fails",
        since=last,
        what=f"Its tick at {_moment(last)} ended with {error}.",
        advice="The page of the tick shows the error. Nothing starts by it until that is mended.",
        section="A sensor is silent",
        path=path,
    )


def no_new_data(newest: datetime, now: datetime, days: int, asset: Sequence[str]) -> list[Problem]:
    """Return the problem of a source folder that has given nothing new for some days, or none; 0 days: never one."""
    if not days or now - newest < timedelta(days=days):
        return []
    return [
        Problem(
            key="no new data",
            title=f"No new data for {days} days",
            since=newest,
            what=f"The newest content that {'/'.join(asset)} holds was read at {_moment(newest)}.",
            advice="Find out whether the delivery into the source folder stopped, or runs do.",
            section="No new data",
            path=f"/assets/{'/'.join(asset)}",
        )
    ]


def channel_fails(key: str, name: str, since: datetime) -> Problem:
    """Return the problem of a channel that does not take its alerts, for the others to tell."""
    return Problem(
        key=f"channel/{key}",
        title=f"Alerts do not arrive at {name}",
        since=since,
        what="It is tried again every minute, and gets what it missed as far as that still holds.",
        advice="Try it with: python -m clustering_assets.alerts --try-channels",
        section="An alert channel fails",
        path="/automation",
    )


def changes(
    told: Mapping[str, Told], now: Sequence[Problem], *, listening: bool = True
) -> tuple[list[Problem], dict[str, Told]]:
    """Return what is new to somebody who was told before, and what of it is over, by key.

    Who did not listen (see `watch.open_problems`) does not know of a silence that it is over.
    """
    keys = {problem.key for problem in now}
    return (
        [problem for problem in now if problem.key not in told],
        {key: one for key, one in told.items() if key not in keys and (listening or not key.endswith(_SILENT))},
    )


def message(new: Sequence[Problem], over: Sequence[Told], ui_url: str) -> Message:
    """Write one message about everything that is new or over."""
    parts = [_in_full(problem, ui_url) for problem in new[:MOST_IN_FULL]]
    if len(new) > MOST_IN_FULL:
        titles = [problem.title for problem in new[MOST_IN_FULL:]]
        parts.append("\n".join(["And also:", *_some(titles)]))
    if over:
        parts.append("\n".join(_some([f"Over: {one.title}. It was open since {_moment(one.since)}." for one in over])))
    if len(new) + len(over) == 1:
        title = new[0].title if new else f"Over: {over[0].title}"
    else:
        counted = [f"{len(new)} new problem{'s' if len(new) > 1 else ''}"] if new else []
        title = ", ".join([*counted, *([f"{len(over)} over"] if over else [])])
    return Message(title, "\n\n".join(parts), bad=bool(new))


def _in_full(problem: Problem, ui_url: str) -> str:
    return "\n".join(
        [
            f"{problem.title}.",
            f"Since {_moment(problem.since)}.",
            problem.what,
            problem.advice,
            f"{ui_url}{problem.path}",
            f'More: "{problem.section}" in {_PAGE}',
        ]
    )


def _some(lines: Sequence[str]) -> list[str]:
    rest = len(lines) - _MOST_TITLES
    return [*(f"- {line}" for line in lines[:_MOST_TITLES]), *([f"- and {rest} more"] if rest > 0 else [])]


def _quoted(said: str) -> str:
    # from the first bracket to the last of a line: a value in it may hold brackets of its own
    bare = "\n".join(re.sub(r" *\(.*\)", "", line) for line in said.splitlines())
    return bare if len(bare) <= _LONGEST_QUOTE else f"{bare[:_LONGEST_QUOTE].rstrip()} …"


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
