"""The loaded versions of one model, kept in step with the registry.

A version that an alias leaves goes on answering whatever it has begun, because each request holds the version that it was given. The
new one is loaded and warmed up before it takes the alias, so no request waits for it and none is dropped.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress

from serving.gateway.sources import CHALLENGER, CHAMPION, Source, SourceError, UnknownVersionError, Version

#: Versions kept loaded because somebody asked for them, beside the champion and the challenger: those that were asked last.
_MAX_GUESTS = 2
_MAX_REMEMBERED = 1000


class NotServedError(LookupError):
    """No such alias or version; the message lists what there is."""


class Fleet:
    """Loads the champion and the challenger ahead, and other versions when they are asked for. Safe to use from several threads."""

    def __init__(self, source: Source) -> None:
        """Start with nothing loaded; call `refresh`."""
        self.source = source
        self.problem = self.detail = "the registry has not been read yet"
        self._aliases: dict[str, str] = {}
        self._leaders: dict[str, Version] = {}
        self._guests: OrderedDict[str, Version] = OrderedDict()
        self._unknown: set[str] = set()
        self._failed: dict[str, SourceError] = {}
        self._lock, self._guest_lock = threading.Lock(), threading.Lock()

    @property
    def leaders(self) -> dict[str, Version]:
        """`champion` and `challenger`, as far as they exist; a snapshot."""
        return dict(self._leaders)

    def refresh(self) -> bool:
        """Read the registry and load what has changed; whatever fails leaves the version so far in place.

        It is told in `problem`, for callers, and in `detail`, for the log.

        Returns:
            Whether any leader changed.
        """
        with self._lock:
            try:
                aliases = self.source.read_aliases()
            except Exception as error:
                self.problem, self.detail = _tell(error)
                return False
            problems: list[tuple[str, str]] = []
            leaders = {}
            for alias in (CHAMPION, CHALLENGER):
                try:
                    if alias in aliases:
                        leaders[alias] = self._find_loaded(aliases[alias]) or self.source.load(aliases[alias])
                except Exception as error:
                    # Also what nobody has foreseen, such as a full disk: the next time may go well.
                    public, detail = _tell(error)
                    problems.append((f"{alias} stays as it was: {public}", f"{alias} stays as it was: {detail}"))
                    leaders |= {alias: self._leaders[alias]} if alias in self._leaders else {}
            if CHAMPION not in aliases:
                problems.append((f"{self.source.model} has no champion; promote a version",) * 2)
            changed = {alias: version.number for alias, version in leaders.items()} != {
                alias: version.number for alias, version in self._leaders.items()
            }
            self._aliases, self._leaders, self._unknown, self._failed = aliases, leaders, set(), {}
            self.problem, self.detail = ("; ".join(told[part] for told in problems) for part in (0, 1))
            return changed

    def find(self, name: str) -> Version | None:
        """The version of an alias or number if it is loaded, at once."""
        return self._leaders.get(name) or self._find_loaded(self._aliases.get(name, name))

    def load(self, name: str) -> Version:
        """The version of an alias or number, loaded now if it must be, which takes a while.

        Raises:
            NotServedError: There is none.
            SourceError: It cannot be had.
        """
        # Guests load one after the other, and apart from `refresh`, which promotions wait for.
        with self._guest_lock:
            number = self._aliases.get(name, name)
            version = self._find_loaded(number)
            if version is not None:
                return version
            if number in self._unknown or not number.isascii() or not number.isalnum():
                raise self._refuse(name)
            if number in self._failed:
                raise self._failed[number]
            try:
                version = self.source.load(number)
            # Both are bounded, and forgotten at the next refresh: whoever asks for what cannot be had must not keep the registry busy.
            except UnknownVersionError:
                if len(self._unknown) < _MAX_REMEMBERED:
                    self._unknown.add(number)
                raise self._refuse(name) from None
            except SourceError as error:
                if len(self._failed) < _MAX_REMEMBERED:
                    self._failed[number] = error
                raise
            with self._lock:
                self._guests[number] = version
                while len(self._guests) > _MAX_GUESTS:
                    self._guests.popitem(last=False)
            return version

    def _find_loaded(self, number: str) -> Version | None:
        leaders = {version.number: version for version in self._leaders.values()}
        if number in leaders:
            return leaders[number]
        # It need not be there, and another thread may evict it just now: with a lock, who only looks would wait for who loads.
        with suppress(KeyError):
            self._guests.move_to_end(number)
        return self._guests.get(number)

    def _refuse(self, name: str) -> NotServedError:
        known = ", ".join(f"{alias} (version {number})" for alias, number in sorted(self._aliases.items())) or "none"
        return NotServedError(f"{self.source.model} has no alias or version {name[:50]!r}; aliases: {known}")


def _tell(error: Exception) -> tuple[str, str]:
    """What is said of an error to callers, and what in the log."""
    if isinstance(error, SourceError):
        return str(error), error.explain()
    if isinstance(error, UnknownVersionError):
        return f"there is no version {error}", f"there is no version {error}"
    return "something unforeseen went wrong, which the log names", f"{type(error).__name__}: {error}"
