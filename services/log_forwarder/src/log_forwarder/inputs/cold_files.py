"""Files that were shipped to their end and have been silent since: 17 bytes each, for there may be 100,000.

An open-addressing table in three arrays. All else about such a file is in the checkpoints; when it
changes, it becomes a followed file again.
"""

from __future__ import annotations

from array import array

_EMPTY = 0
_REMOVED = 1
_SMALLEST = 1024
_MOST_USED = 0.7
_WORD = 0xFFFF_FFFF_FFFF_FFFF
_SPREAD = 0x9E37_79B9_7F4A_7C15  # 2^64 divided by the golden ratio: Knuth's multiplicative hashing


class ColdFiles:
    """A set of files with the size and change time they had. Used by one thread."""

    def __init__(self) -> None:
        self._count = 0
        self._used = 0
        self._round = 0
        self._keys, self._states, self._rounds = array("Q"), array("Q"), bytearray()
        self._allocate(_SMALLEST)

    def __len__(self) -> int:
        return self._count

    def begin_round(self) -> None:
        """Begin a scan: what it does not meet is dropped by :meth:`end_round`."""
        self._round = (self._round + 1) % 256

    def meet(self, device: int, inode: int, size_bytes: int, changed_ns: int) -> bool:
        """Say whether this very file is here, unchanged; take note that the scan met it."""
        at = self._find(_key(device, inode))
        if at < 0 or self._states[at] != _state(size_bytes, changed_ns):
            return False
        self._rounds[at] = self._round
        return True

    def has(self, device: int, inode: int) -> bool:
        """Say whether a file with this number is here."""
        return self._find(_key(device, inode)) >= 0

    def add(self, device: int, inode: int, size_bytes: int, changed_ns: int) -> None:
        """Put a file here, or its new state."""
        key = _key(device, inode)
        at = self._find(key)
        if at < 0:
            if self._used >= len(self._keys) * _MOST_USED:
                self._allocate(max(_SMALLEST, 2 * self._count))
            at = self._free_place(key)
            self._used += self._keys[at] == _EMPTY
            self._keys[at] = key
            self._count += 1
        self._states[at] = _state(size_bytes, changed_ns)
        self._rounds[at] = self._round

    def remove(self, device: int, inode: int) -> None:
        """Take a file out, if it is here."""
        at = self._find(_key(device, inode))
        if at >= 0:
            self._keys[at] = _REMOVED
            self._count -= 1

    def end_round(self) -> int:
        """Drop the files that the scan did not meet: they are gone, or not wanted. Return how many."""
        before = self._count
        for at, key in enumerate(self._keys):
            if key > _REMOVED and self._rounds[at] != self._round:
                self._keys[at] = _REMOVED
                self._count -= 1
        return before - self._count

    def _allocate(self, entries: int) -> None:
        old = zip(self._keys, self._states, self._rounds, strict=True)  # not a list: it would be 20 MB
        capacity = _SMALLEST
        while capacity * _MOST_USED <= entries:
            capacity *= 2
        self._keys = array("Q", bytes(8 * capacity))
        self._states = array("Q", bytes(8 * capacity))
        self._rounds = bytearray(capacity)
        self._used = self._count
        for key, state, seen_in in old:
            if key > _REMOVED:
                at = self._free_place(key)
                self._keys[at], self._states[at], self._rounds[at] = key, state, seen_in

    def _find(self, key: int) -> int:
        keys, mask = self._keys, len(self._keys) - 1
        at = (key * _SPREAD & _WORD) >> 20 & mask
        while (found := keys[at]) != _EMPTY:
            if found == key:
                return at
            at = at + 1 & mask
        return -1

    def _free_place(self, key: int) -> int:
        keys, mask = self._keys, len(self._keys) - 1
        at = (key * _SPREAD & _WORD) >> 20 & mask
        while keys[at] > _REMOVED:
            at = at + 1 & mask
        return at


def _key(device: int, inode: int) -> int:
    """Return one number for both; that two files share one is possible, and then states differ."""
    return max(_REMOVED + 1, (inode ^ device << 40) & _WORD)


def _state(size_bytes: int, changed_ns: int) -> int:
    return (changed_ns ^ size_bytes * _SPREAD) & _WORD
