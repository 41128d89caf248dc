"""A hasher that is quick and counts, to show that unknown and known people cost the same work."""

from __future__ import annotations

import threading
from typing import Any, Literal

from argon2 import PasswordHasher


class CountingHasher(PasswordHasher):
    """Argon2id with the least work there is, which remembers how often it verified and the most at one moment."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**{"time_cost": 1, "memory_cost": 8, "parallelism": 1, **parameters})
        self.verifications = 0
        self.at_once = 0
        self.at_once_max = 0
        self._lock = threading.Lock()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
        """Verify as the library does, and count."""
        with self._lock:
            self.verifications += 1
            self.at_once += 1
            self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            return super().verify(hash, password)
        finally:
            with self._lock:
                self.at_once -= 1
