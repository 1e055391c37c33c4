"""Where alerts go: mail, Slack, Teams, a web hook, ... by apprise URL.

A URL holds passwords, so it never leaves this module: a channel is called by its place in the setting and its service.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from clustering_assets.problems import Message

if TYPE_CHECKING:
    from apprise import NotifyBase

_ALL_TOGETHER = 40
"""Seconds that all channels may take together: Dagster ends a tick after 60."""


@dataclass(frozen=True)
class Channel:
    """One of the alert URLs.

    Parameters
    ----------
    place
        Its place in the setting, from 1.
    url
        As apprise reads it.
    patience
        Seconds after which a message counts as not taken.
    """

    place: int
    url: str = field(repr=False)
    patience: float = _ALL_TOGETHER

    @property
    def key(self) -> str:
        """What the channel is remembered by: the same for the same URL, wherever it stands."""
        return _key(self.url)

    @property
    def name(self) -> str:
        """What the channel is called in logs."""
        service = f" ({self._service.service_name})" if self._service else ""
        return f"channel {self.place} of CLUSTERING_ALERT_URLS{service}"

    @property
    def is_usable(self) -> bool:
        """Whether it is a URL that apprise can use."""
        return self._service is not None

    def send(self, message: Message) -> str:
        """Send a message; return why it was not taken, in words without any secret, or nothing when it was."""
        from apprise import Apprise, NotifyFormat, NotifyType

        if self._service is None:
            return "it is no URL that apprise can use"
        try:
            taken = Apprise(self._service).notify(
                title=f"clustering-assets: {message.title}",
                body=message.text,
                body_format=NotifyFormat.TEXT,
                notify_type=NotifyType.FAILURE if message.bad else NotifyType.SUCCESS,
                timeout=self.patience,
            )
        except Exception as error:  # whatever a service stumbles over: alerts go on, and its words may hold the URL
            return f"{type(error).__name__} while sending"
        return "" if taken else "the service did not take the message"

    @cached_property
    def _service(self) -> NotifyBase | None:
        from apprise import Apprise, AppriseAsset, OverflowMode

        # what apprise logs may hold parts of the URL
        logging.getLogger("apprise").disabled = True
        service = Apprise.instantiate(self.url, asset=AppriseAsset(app_id="clustering-assets", app_desc="alerts"))
        if service is not None and "overflow=" not in self.url:
            # a service with a limit gets a long message in parts, instead of refusing it
            service.overflow_mode = OverflowMode.SPLIT
        return service


def channels(urls: Sequence[str]) -> list[Channel]:
    """Return the channels of the setting; a URL that is there twice is one channel."""
    unique = list(dict.fromkeys(urls))
    return [Channel(place, url, _ALL_TOGETHER / len(unique)) for place, url in enumerate(unique, start=1)]


@lru_cache
def _key(url: str) -> str:
    # slow on purpose: what is remembered can be seen in the UI, and a password must not be guessed from it
    return hashlib.scrypt(url.encode(), salt=b"alerts", n=2**14, r=8, p=1, dklen=6).hex()
