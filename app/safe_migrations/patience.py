"""How long a step waits for what others hold, and how often it tries."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.safe_migrations.progress import log


@dataclass(frozen=True)
class Patience:
    """``seconds`` for each try, short, for those who come later wait behind it; and how many ``tries``."""

    seconds: float
    tries: int

    def pauses(self) -> Iterator[float | None]:
        """Seconds to let others pass after each failed try, growing from half a second to ten; None after the last.

        Chosen, not measured: with ten tries, as MIGRATION_LOCK_RETRIES has by default, 42 seconds in all, half of the
        tries in the first eight. Chance keeps runs that wait for the same session out of step.
        """
        for number in range(self.tries - 1):
            yield min(10.0, 0.5 * 1.6**number) * random.uniform(0.8, 1.2)
        yield None

    def persist(self, action: Callable[[], None], timed_out: Callable[[Exception], bool]) -> None:
        """Run ``action``; where it ``timed_out``, let others pass and run it again. Raises what the last try raises."""
        for pause in self.pauses():
            try:
                action()
            except Exception as error:
                if pause is None or not timed_out(error):
                    raise
                log.info("Others hold a lock; trying again in %.1f seconds", pause)
                time.sleep(pause)
            else:
                break
