"""When a write happened. Every write is ordered by its timestamp, and the newest write wins."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Self

from msgspec import Struct

TICKS_PER_SECOND: Final = 100_000
SECONDS_PER_DAY: Final = 86_400
# Ten digits of seconds (the year 2286) and five of fraction: beyond this the text would no longer sort.
TICKS_MAX: Final = 10**15 - 1
OFFSET_MAX: Final = 2**64 - 1


class Timestamp(Struct, frozen=True, order=True, gc=False):
    """A moment in ticks of 10 microseconds since the epoch (UTC), and an offset that breaks ties.

    The offset orders internal rewrites of one client write: it is never shown to clients.
    """

    ticks: int
    offset: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "1234567890.12345" with an optional "_hexoffset"; fewer or more digits are accepted.

        A fraction finer than a tick is rounded to the nearest one. Raises ValueError on anything else.
        """
        if text[10:11] == "." and text[16:17] in ("", "_"):  # as the store itself writes them
            digits = text[:10] + text[11:16]
            if len(digits) == 15 and digits.isdecimal() and digits.isascii():
                return cls(int(digits), _parse_offset(text[17:], text) if len(text) > 16 else 0)
        decimal, underscore, offset = text.partition("_")
        ticks = _parse_ticks(decimal, text)
        return cls(ticks, _parse_offset(offset, text) if underscore else 0)

    @classmethod
    def from_seconds(cls, seconds: float) -> Self:
        """The tick nearest to a moment in seconds since the epoch."""
        return cls(round(seconds * TICKS_PER_SECOND))

    @classmethod
    def from_isoformat(cls, text: str) -> Self:
        """Read what `isoformat` shows. Raises ValueError on anything else."""
        moment = datetime.fromisoformat(text).replace(tzinfo=None)
        if moment.isoformat(timespec="microseconds") != text:
            raise ValueError(f"not a time in UTC with six decimals: {text!r}")
        return cls.from_seconds(moment.replace(tzinfo=UTC).timestamp())

    @property
    def normal(self) -> str:
        """Seconds with five decimals, "1234567890.12345": what clients and row orderings see."""
        seconds, fraction = divmod(self.ticks, TICKS_PER_SECOND)
        return f"{seconds:010d}.{fraction:05d}"

    @property
    def internal(self) -> str:
        """As `normal`, followed by "_" and 16 hex digits if there is an offset; sorts as text."""
        return f"{self.normal}_{self.offset:016x}" if self.offset else self.normal

    @property
    def isoformat(self) -> str:
        """UTC without a zone and always six decimals, "2014-01-01T00:00:00.123450", as listings show it."""
        seconds, fraction = divmod(self.ticks, TICKS_PER_SECOND)
        days, second = divmod(seconds, SECONDS_PER_DAY)
        minutes, second = divmod(second, 60)
        return f"{_iso_day(days)}T{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}.{fraction:05d}0"

    @property
    def http_date(self) -> str:
        """IMF-fixdate (RFC 9110, 5.6.7), rounded up to the next second.

        Rounding down would let If-Unmodified-Since pass for a write later in the same second.
        """
        days, second = divmod(self.ceil_seconds, SECONDS_PER_DAY)
        minutes, second = divmod(second, 60)
        return f"{_http_day(days)} {minutes // 60:02d}:{minutes % 60:02d}:{second:02d} GMT"

    @property
    def seconds(self) -> float:
        return self.ticks / TICKS_PER_SECOND

    @property
    def ceil_seconds(self) -> int:
        """Whole seconds since the epoch, rounded up."""
        return -(-self.ticks // TICKS_PER_SECOND)


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _parse_ticks(decimal: str, text: str) -> int:
    seconds, point, fraction = decimal.partition(".")
    if not _is_digits(seconds) or (point and not _is_digits(fraction)):
        raise ValueError(f"not a timestamp: {text!r}")
    ticks = int(seconds) * TICKS_PER_SECOND + int(fraction[:5].ljust(5, "0"))
    ticks += fraction[5:6] >= "5"
    if ticks > TICKS_MAX:
        raise ValueError(f"timestamp beyond the year 2286: {text!r}")
    return ticks


def _parse_offset(digits: str, text: str) -> int:
    # int() alone would also accept signs, blanks and underscores.
    if not (digits.isascii() and digits.isalnum() and len(digits) <= 16):
        raise ValueError(f"not a timestamp offset: {text!r}")
    try:
        return int(digits, 16)
    except ValueError:
        raise ValueError(f"not a timestamp offset: {text!r}") from None


# Listings and Last-Modified headers show few different days, so the calendar is computed once a day.
@lru_cache(maxsize=1024)
def _iso_day(days: int) -> str:
    return datetime.fromtimestamp(days * SECONDS_PER_DAY, UTC).strftime("%Y-%m-%d")


_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=1024)
def _http_day(days: int) -> str:
    # Not strftime: names of days and months would follow the process's locale.
    day = datetime.fromtimestamp(days * SECONDS_PER_DAY, UTC)
    return f"{_WEEKDAYS[day.weekday()]}, {day.day:02d} {_MONTHS[day.month - 1]} {day.year:04d}"
