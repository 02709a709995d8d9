"""js.Date and js.performance."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from workers._errors import range_error
from workers._web.raw import Raw

__all__ = ["Date", "performance"]


class Date(Raw):
    """A moment, in milliseconds since 1970."""

    js_name = "Date"

    def __init__(self, value: Any = None, *parts: int) -> None:
        if parts:
            year, month, *rest = (int(value), *map(int, parts))
            day, hour, minute, second, millisecond, *_ = (*rest, *(1, 0, 0, 0, 0)[len(rest) :])
            moment = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()
            seconds = (day - 1) * 86400 + hour * 3600 + minute * 60 + second
            self._milliseconds = (moment + seconds) * 1000 + millisecond
        elif value is None:
            self._milliseconds = float(Date.now())
        elif isinstance(value, datetime):
            self._milliseconds = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000
        elif isinstance(value, Date):
            self._milliseconds = value._milliseconds
        elif isinstance(value, str):
            self._milliseconds = float(Date.parse(value))
        else:
            self._milliseconds = float(value)

    @staticmethod
    def now() -> int:
        return int(time.time() * 1000)

    @staticmethod
    def parse(text: str) -> int:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            from email.utils import parsedate_to_datetime

            try:
                moment = parsedate_to_datetime(text)
            except ValueError:
                raise range_error("Invalid time value") from None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._milliseconds / 1000, UTC)

    def getTime(self) -> int:
        return int(self._milliseconds)

    valueOf = getTime

    def toISOString(self) -> str:
        return self._moment().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    toJSON = toISOString

    def toUTCString(self) -> str:
        from email.utils import format_datetime

        return format_datetime(self._moment(), usegmt=True)

    def getFullYear(self) -> int:
        return self._moment().year

    def getMonth(self) -> int:
        return self._moment().month - 1

    def getDate(self) -> int:
        return self._moment().day

    def getDay(self) -> int:
        return self._moment().isoweekday() % 7

    def getHours(self) -> int:
        return self._moment().hour

    def getMinutes(self) -> int:
        return self._moment().minute

    def getSeconds(self) -> int:
        return self._moment().second

    def getMilliseconds(self) -> int:
        return self._moment().microsecond // 1000

    # A Worker's zone is UTC.
    getUTCFullYear, getUTCMonth, getUTCDate, getUTCDay = getFullYear, getMonth, getDate, getDay
    getUTCHours, getUTCMinutes, getUTCSeconds = getHours, getMinutes, getSeconds

    def to_py(self, **_options: Any) -> datetime:
        return self._moment().replace(tzinfo=None)

    def __int__(self) -> int:
        return self.getTime()

    def __float__(self) -> float:
        return self._milliseconds

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Date) and other._milliseconds == self._milliseconds

    def __hash__(self) -> int:
        return hash(self._milliseconds)

    def __str__(self) -> str:
        return self.toISOString()

    def _tenantry_value(self, capabilities: list[Any]) -> datetime:
        return self._moment()


class _Performance:
    timeOrigin = 0

    @staticmethod
    def now() -> float:
        return time.time() * 1000


performance = _Performance()
