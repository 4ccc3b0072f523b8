"""As much of nginx's grammar as the rules need."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(r"""\s+|\#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|(?:\\.|[^\s;{}"'\\])+""")


@dataclass
class Directive:
    """A directive with its words and, where it has one, its block."""

    words: list[str]
    block: list["Directive"] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its first word."""
        return self.words[0]

    def all(self, name: str) -> Iterator["Directive"]:
        """Directives of that name in the block, at any depth."""
        for inner in self.block:
            if inner.name == name:
                yield inner
            yield from inner.all(name)

    def own(self, name: str) -> list[list[str]]:
        """The words after the name of each such directive directly in the block."""
        return [inner.words[1:] for inner in self.block if inner.name == name]


def parse(files: dict[str, bytes]) -> dict[str, Directive]:
    """Parse each ``.conf`` file; its directives are the block of a root without a name.

    Raises:
        AssertionError: the text is not well formed.
    """
    return {path: _parse(content.decode(), path) for path, content in files.items() if path.endswith(".conf")}


def _parse(text: str, path: str) -> Directive:
    root = Directive([""])
    stack, words, position = [root], [], 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        assert found, f"{path}: cannot read {text[position : position + 40]!r}"
        position, token = found.end(), found.group()
        if token.isspace() or token.startswith("#"):
            continue
        if token == ";":
            assert words, f"{path}: an empty directive"
            stack[-1].block.append(Directive(words))
            words = []
        elif token == "{":
            stack[-1].block.append(Directive(words))
            stack.append(stack[-1].block[-1])
            words = []
        elif token == "}":
            assert not words, f"{path}: ; is missing after {words}"
            stack.pop()
        else:
            words.append(token)
    assert len(stack) == 1 and not words, f"{path}: a block is not closed"
    return root
