"""The wait of a statement for a lock, and its retries."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .console import log


@dataclass(frozen=True)
class RetryPolicy:
    """The seconds that each try waits, and the number of tries. Keep waits short: other sessions queue behind them."""

    seconds: float
    tries: int

    @property
    def milliseconds(self) -> int:
        """Return ``seconds`` as databases take it."""
        return int(self.seconds * 1000)

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to let others pass after each failed try but the last, growing from half a second to ten.

        Chosen, not measured: with ten tries, as MIGRATION_LOCK_RETRIES has by default, 42 seconds in all, half of the
        tries in the first eight. Chance keeps runs that wait for the same session out of step.
        """
        for number in range(self.tries - 1):
            yield min(10.0, 0.5 * 1.6**number) * random.uniform(0.8, 1.2)

    def call(self, action: Callable[[], None], may_retry: Callable[[Exception], bool]) -> None:
        """Run ``action``, and retry it after each error that ``may_retry``. Raise the error of the last try."""
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
