"""Times that cannot be right: factory dates of a camera's clock, the future, outside of the deployment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# Where clocks begin after a change of batteries or a lost date: Unix, FAT and DOS, GPS, Macintosh, NTP, cameras.
_FACTORY = frozenset(
    {
        (1900, 1, 1),
        (1904, 1, 1),
        (1970, 1, 1),
        (1979, 12, 31),
        (1980, 1, 1),
        (1980, 1, 6),
        (1999, 11, 30),
        (1999, 12, 31),
        (2000, 1, 1),
        (2001, 1, 1),
    }
)
_FIRST_YEAR = 1990  # no digital camera trap is older
_ZONES = timedelta(hours=14)  # the largest offset from UTC: what a time without an offset may be off by


def aware(time: datetime) -> datetime:
    """A time with an offset; one without is taken as UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def clock_doubt(time: datetime) -> str:
    """Why a time cannot be right, "at a factory date (2000-01-01)"; "" where nothing is known against it."""
    if (time.year, time.month, time.day) in _FACTORY:
        return f"at a factory date ({time:%Y-%m-%d})"
    if (time.month, time.day, time.hour, time.minute, time.second) == (1, 1, 0, 0, 0):
        return "at a factory date (1 January, 00:00:00)"
    if time.year < _FIRST_YEAR:
        return f"before {_FIRST_YEAR}"
    if aware(time) > datetime.now(UTC) + timedelta(days=1):
        return "in the future"
    return ""


def outside(time: datetime, begin: datetime | None, end: datetime | None) -> bool:
    """Whether a time is before `begin` or after `end` (None: not known; midnight: the day belongs to it)."""

    def slack(limit: datetime) -> timedelta:
        return _ZONES if (limit.tzinfo is None) != (time.tzinfo is None) else timedelta()

    if end is not None and (end.hour, end.minute, end.second) == (0, 0, 0):
        end += timedelta(days=1)
    early = begin is not None and aware(time) < aware(begin) - slack(begin)
    return early or (end is not None and aware(time) > aware(end) + slack(end))
