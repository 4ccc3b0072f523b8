"""Questions before something is destroyed."""

import sys

from flotteq_tasks.model.errors import UsageError


def confirm(question: str, *, yes: bool, word: str = "yes", interactive: bool) -> None:
    """Ask, and go on only when the word is typed.

    Args:
        yes: the answer was given by ``--yes``.
        word: what must be typed; for the worst cases the name of what is destroyed.
        interactive: somebody can answer.

    Raises:
        UsageError: nobody can answer, or the answer was another one.
    """
    if yes:
        return
    if not interactive:
        gap = "\n" if "\n" in question else " "
        raise UsageError(f"{question}{gap}Nobody is here to answer; nothing was changed", hint="add --yes")
    sys.stderr.write(f"{question}\nType '{word}' to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != word:
        raise UsageError("not confirmed; nothing was changed")
