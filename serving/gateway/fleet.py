"""The loaded versions of one model, kept in step with the registry.

A version that an alias leaves goes on answering whatever it has begun, because each request holds the version that it was given. The
new one is loaded and warmed up before it takes the alias, so no request waits for it and none is dropped.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from serving.gateway.sources import CHALLENGER, CHAMPION, Source, SourceError, UnknownVersionError, Version

#: Versions kept loaded because somebody asked for them, beside the champion and the challenger.
_MAX_GUESTS = 2


class NotServedError(LookupError):
    """No such alias or version; the message lists what there is."""


class Fleet:
    """Loads the champion and the challenger ahead, and other versions when they are asked for. Safe to use from several threads."""

    def __init__(self, source: Source) -> None:
        """Start with nothing loaded; call `refresh`."""
        self.source = source
        self.problem = "the registry has not been read yet"
        self._aliases: dict[str, str] = {}
        self._leaders: dict[str, Version] = {}
        self._guests: OrderedDict[str, Version] = OrderedDict()
        self._unknown: set[str] = set()
        self._lock = threading.Lock()

    @property
    def leaders(self) -> dict[str, Version]:
        """`champion` and `challenger`, as far as they exist; a snapshot."""
        return dict(self._leaders)

    def refresh(self) -> bool:
        """Read the registry and load what has changed; whatever fails leaves the version so far in place, and is told in `problem`.

        Returns:
            Whether any leader changed.
        """
        with self._lock:
            try:
                aliases = self.source.read_aliases()
            except SourceError as error:
                self.problem = str(error)
                return False
            problems = []
            leaders = {}
            for alias in (CHAMPION, CHALLENGER):
                try:
                    if alias in aliases:
                        leaders[alias] = self._find_loaded(aliases[alias]) or self.source.load(aliases[alias])
                except (SourceError, UnknownVersionError) as error:
                    problems.append(f"{alias} stays as it was: {error}")
                    leaders |= {alias: self._leaders[alias]} if alias in self._leaders else {}
            if CHAMPION not in aliases:
                problems.append(f"{self.source.model} has no champion; promote a version")
            changed = {alias: version.number for alias, version in leaders.items()} != {
                alias: version.number for alias, version in self._leaders.items()
            }
            self._aliases, self._leaders, self._unknown = aliases, leaders, set()
            self.problem = "; ".join(problems)
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
        with self._lock:
            number = self._aliases.get(name, name)
            version = self._find_loaded(number)
            if version is None:
                if number in self._unknown or not number.isascii() or not number.isalnum():
                    raise self._refuse(name)
                try:
                    version = self.source.load(number)
                except UnknownVersionError:
                    # Bounded, and forgotten at the next refresh: whoever asks for made-up versions must not keep the registry busy.
                    if len(self._unknown) < 1000:
                        self._unknown.add(number)
                    raise self._refuse(name) from None
                self._guests[number] = version
                while len(self._guests) > _MAX_GUESTS:
                    self._guests.popitem(last=False)
            return version

    def _find_loaded(self, number: str) -> Version | None:
        leaders = {version.number: version for version in self._leaders.values()}
        return leaders.get(number) or self._guests.get(number)

    def _refuse(self, name: str) -> NotServedError:
        known = ", ".join(f"{alias} (version {number})" for alias, number in sorted(self._aliases.items())) or "none"
        return NotServedError(f"{self.source.model} has no alias or version {name[:50]!r}; aliases: {known}")
