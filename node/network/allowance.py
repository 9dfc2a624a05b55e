"""What the node takes of the line right now: the settings, and the hour of the week.

    settings ─┐
              ├─► timetable ─► rates ─► caps (every connection), giving (every session), pauses (every fetch)
    clock ────┘

A change of the settings holds at once; a window of the schedule begins and ends by itself while `run` runs. Without a
schedule nothing here ever wakes up.

Source: specs/cli.md, "Limits".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, final

import trio

from samara.node.network.caps import Caps
from samara.node.network.exchange.giving import Giving
from samara.node.network.timetable import Rates, Timetable, seconds_until
from samara.node.settings import NetworkSettings

__all__ = ["Allowance"]

_LOOK_AGAIN: Final = 60.0
"""Seconds between two looks at the clock while there is a schedule: somebody may set it, and a laptop may sleep."""


_SHORTEST: Final = 0.05
"""Seconds: a clock that is set back at the wrong moment must not make us look without end."""


@final
class Allowance:
    """What may pass, and whether chunks are given and fetched at all.

    Args:
        settings: What holds first.
        now: Returns the local wall-clock time, without a zone for the system's.

    Attributes:
        caps: What the connections obey.
        giving: What the sessions that serve obey.
    """

    def __init__(self, settings: NetworkSettings, now: Callable[[], datetime] = datetime.now) -> None:
        self.caps = Caps()
        self.giving = Giving(self.caps.upload)
        self._now = now
        self._changed = trio.Event()
        self._settings, self._rates = settings, Rates(None, None)
        self.set(settings)

    @property
    def settings(self) -> NetworkSettings:
        """What was set."""
        return self._settings

    @property
    def rates(self) -> Rates:
        """What holds now."""
        return self._rates

    @property
    def metered(self) -> bool:
        """The line is dear."""
        return self._settings.metered

    def until(self) -> datetime | None:
        """Return the local time of the next change by the schedule; None when there is none."""
        return self._timetable.next_change(self._now())

    def set(self, settings: NetworkSettings) -> None:
        """Let other settings hold from now on."""
        self._settings = settings
        self._timetable = Timetable(settings.upload, settings.download, settings.schedule)
        self.caps.set_peer_rates(settings.peer_upload, settings.peer_download)
        self.giving.most = settings.max_upload
        self._look()
        self.tell()

    async def run(self) -> None:
        """Follow the schedule until cancelled."""
        while True:
            self._look()
            changed, change = self._changed, self.until()
            wait = float("inf")
            if change is not None:
                wait = min(max(seconds_until(change, self._now()), _SHORTEST), _LOOK_AGAIN)
            with trio.move_on_after(wait):
                await changed.wait()

    def why_no_fetch(self, *, asked: bool) -> str:
        """Say why a fetch may not run now; empty when it may.

        Args:
            asked: Somebody waits for it.
        """
        if self._rates.download == 0:
            back = self._timetable.next_rate(self._now(), "download")
            return "download is 0" + (f" until {back:%a %H:%M}" if back is not None else "")
        return "the line is metered, and nobody waits for it" if self.metered and not asked else ""

    async def wait_changed(self) -> None:
        """Wait until something may have changed."""
        await self._changed.wait()

    def tell(self) -> None:
        """Let those who wait look again."""
        self._changed.set()
        self._changed = trio.Event()

    def _look(self) -> None:
        """Let hold what the settings and the hour say."""
        now = self._now()
        before, self._rates = self._rates, (rates := self._timetable.at(now))
        self.caps.upload.set_rate(rates.upload)
        self.caps.download.set_rate(rates.download)
        back = self._timetable.next_rate(now, "upload") if rates.upload == 0 and not self.metered else None
        back_at = None if back is None else trio.current_time() + seconds_until(back, now)
        self.giving.set_closed(rates.upload == 0 or self.metered, back_at)
        if rates != before:
            self.tell()
