"""When backups are due: five fields as in a crontab. The only module that knows cronsim."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cronsim import CronSim, CronSimError


@dataclass(frozen=True, slots=True)
class Schedule:
    """Moments of local time, by minute, hour, day of the month, month and day of the week."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Check the five fields; ``ValueError`` says what is wrong with them, or that they never come true."""
        if len(text.split()) != 5:
            raise ValueError("a schedule has five fields")
        try:
            next(CronSim(text, datetime(2000, 1, 1)))
        except CronSimError as error:
            raise ValueError(str(error)) from None
        except StopIteration:
            raise ValueError("that day never comes") from None
        return cls(" ".join(text.split()))

    def next_after(self, moment: float) -> float:
        """The first moment behind this one, both Unix time. An hour that the clocks skip moves by as much."""
        after = datetime.fromtimestamp(moment)
        for found in CronSim(self.text, after):
            if found.timestamp() > moment:
                return found.timestamp()
        raise AssertionError("a schedule that was checked goes on for ever")
