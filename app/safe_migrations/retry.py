"""The time limit of a wait for a lock, and the retries after it."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .console import log


@dataclass(frozen=True)
class RetryPolicy:
    """The ``seconds`` that a statement waits for a lock at most, and the number of ``tries``, the first one included.

    Keep ``seconds`` low, because other sessions queue behind a statement that waits.
    """

    seconds: float
    tries: int

    @property
    def milliseconds(self) -> int:
        """Return ``seconds`` in milliseconds, rounded down."""
        return int(self.seconds * 1000)

    def pauses(self) -> Iterator[float]:
        """Yield the pauses between two tries, in seconds. They grow from half a second to ten.

        In a pause, other sessions get the lock. The numbers are chosen, not measured: the default of ten tries
        (MIGRATION_LOCK_RETRIES) pauses 42 seconds in all, and half of the tries come in the first eight seconds. Each
        pause varies at random, so that two runs do not retry at the same moment.
        """
        for number in range(self.tries - 1):
            yield min(10.0, 0.5 * 1.6**number) * random.uniform(0.8, 1.2)

    def call(self, action: Callable[[], None], may_retry: Callable[[Exception], bool]) -> None:
        """Call ``action``; after an error for which ``may_retry`` is true, pause and call it again.

        Raise any other error, and the error of the last try.
        """
        pauses = self.pauses()
        while True:
            try:
                action()
                return
            except Exception as error:
                if not may_retry(error) or (pause := next(pauses, None)) is None:
                    raise
                log.info("Another session holds a lock; trying again in %.1f seconds", pause)
                time.sleep(pause)
