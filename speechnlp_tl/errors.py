"""What is wrong with a user's input, said so that it can be mended.

Everything a user can get wrong raises `InputError`. The command line prints its problems and exits with code 2;
a library caller reads `InputError.problems`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One thing wrong in one place, and what to do about it."""

    what: str
    file: str | Path | None = None
    line: int | None = None
    remedy: str | None = None

    def __str__(self) -> str:
        place = "" if self.file is None else f"{self.file}: " if self.line is None else f"{self.file}:{self.line}: "
        return f"{place}{self.what}" + (f"; {self.remedy}" if self.remedy else "")


class InputError(Exception):
    """Unusable input: data, configuration, arguments or model files. Lists every problem found, not only the first."""

    def __init__(self, problems: Problem | str | Iterable[Problem | str]) -> None:
        items = [problems] if isinstance(problems, Problem | str) else list(problems)
        self.problems = [item if isinstance(item, Problem) else Problem(item) for item in items]
        super().__init__("\n".join(str(problem) for problem in self.problems))
