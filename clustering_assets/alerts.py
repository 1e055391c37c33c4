"""Alerts: what is wrong is told to the channels, once, and once that it is over.

The sensor looks every minute and remembers in its cursor what each channel was told. The command prints the problems
of this moment; with ``--try-channels`` it sends a message to each channel.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg
from pydantic import BaseModel, Field

from clustering_assets.channels import Channel, channels
from clustering_assets.config import BadSetting, read_environment
from clustering_assets.problems import Message, Problem, Told, changes, channel_fails, message
from clustering_assets.watch import SILENT_AFTER, open_problems

_HEARTBEAT_WITHIN = 5
"""Seconds."""

_TRIAL = Message("A trial", "This channel gets the alerts of clustering-assets.", bad=False)


class _ChannelMemory(BaseModel):
    told: dict[str, Told] = Field(default_factory=dict)
    fails_since: datetime | None = None


class _Memory(BaseModel):
    """The cursor: channels go by a hash, since a URL holds passwords."""

    looked_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    channels: dict[str, _ChannelMemory] = Field(default_factory=dict)


@dg.sensor(
    name="alerts",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells the channels of CLUSTERING_ALERT_URLS what broke, once, and when it is over. Starts no run.",
)
def alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Look for problems and tell each channel what it was not told yet."""
    if context.repository_def is None:
        raise dg.DagsterInvariantViolationError("The alerts sensor needs to know its repository.")
    environment, now = read_environment(), datetime.now(UTC)
    before = _Memory.model_validate_json(context.cursor or "{}")
    # after a stop of everything, the other sensors get time for a first tick
    listening = now - before.looked_at < SILENT_AFTER
    origin = context.code_location_origin
    problems = open_problems(
        context.instance,
        context.repository_def,
        now,
        environment.no_new_data_days,
        location=origin.location_name if origin else None,
        listening=listening,
    )
    reached = channels(environment.alert_urls)
    memory = {channel.key: before.channels.get(channel.key, _ChannelMemory()) for channel in reached}
    broken = {
        channel.key: channel_fails(channel.key, channel.name, since)
        for channel in reached
        if (since := memory[channel.key].fails_since)
    }
    for channel in reached:
        others = [problem for key, problem in broken.items() if key != channel.key]
        news = changes(memory[channel.key].told, [*problems, *others], listening=listening)
        memory[channel.key], why_not = _tell(channel, memory[channel.key], *news, environment.ui_url)
        if why_not:
            context.log.warning(f"{channel.name} was not told: {why_not}. It is tried again at the next tick.")
    if environment.heartbeat_url and not any(one.fails_since for one in memory.values()):
        _beat(context, environment.heartbeat_url)
    said = [problem.title for problem in problems] or ["No problem"]
    if not reached:
        said.append("Nobody is told: set CLUSTERING_ALERT_URLS to apprise URLs, as docs/alerts.md says")
    return dg.SensorResult(
        skip_reason=f"{'. '.join(said)}.", cursor=_Memory(looked_at=now, channels=memory).model_dump_json()
    )


def _tell(
    channel: Channel, memory: _ChannelMemory, new: Sequence[Problem], over: Mapping[str, Told], ui_url: str
) -> tuple[_ChannelMemory, str]:
    """Send what is new or over to a channel; return what it knows afterwards, and why it could not be told."""
    why_not = channel.send(message(new, [*over.values()], ui_url)) if new or over else ""
    if why_not:
        return _ChannelMemory(told=memory.told, fails_since=memory.fails_since or datetime.now(UTC)), why_not
    known = {key: one for key, one in memory.told.items() if key not in over}
    return _ChannelMemory(told=known | {problem.key: Told(problem.title, problem.since) for problem in new}), ""


def _beat(context: dg.SensorEvaluationContext, url: str) -> None:
    """Tell a dead man's switch that the alerts are alive: it raises the alarm when this stops."""
    import requests

    try:
        requests.get(url, timeout=_HEARTBEAT_WITHIN).raise_for_status()
    except requests.RequestException as error:
        # the words of the error hold the URL
        context.log.warning(f"CLUSTERING_HEARTBEAT_URL did not answer as it should ({type(error).__name__}).")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the open problems, or try the channels; return 0 if there is none, or every channel took its message."""
    parser = argparse.ArgumentParser(prog="python -m clustering_assets.alerts", description=main.__doc__)
    parser.add_argument("--try-channels", action="store_true", help="send a message to each channel")
    trying = parser.parse_args(arguments).try_channels
    try:
        environment = read_environment()
        from clustering_assets.definitions import build_defs

        repository = build_defs().get_repository_def()
    except BadSetting as error:
        print(error, file=sys.stderr)
        return 1
    if trying:
        answers = {channel.name: channel.send(_TRIAL) for channel in channels(environment.alert_urls)}
        for name, why_not in answers.items():
            print(f"{name}: {why_not or 'it took the message'}")
        if not answers:
            print("There is no channel: set CLUSTERING_ALERT_URLS to apprise URLs.")
        return int(not answers or any(answers.values()))
    with dg.DagsterInstance.get() as instance:
        problems = open_problems(instance, repository, datetime.now(UTC), environment.no_new_data_days)
    print(message(problems, [], environment.ui_url).text if problems else "No problem is open.")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
