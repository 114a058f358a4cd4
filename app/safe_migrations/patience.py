"""How long a step waits for what others hold, and how often it tries."""

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """``seconds`` for each try, short, for those who come later wait behind it; and how many ``tries``."""

    seconds: float
    tries: int

    def pauses(self) -> Iterator[float | None]:
        """Seconds to let others pass after each failed try, growing from half a second to ten; None after the last."""
        for number in range(self.tries - 1):
            yield min(10.0, 0.5 * 1.6**number) * random.uniform(0.8, 1.2)
        yield None
