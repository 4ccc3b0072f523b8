"""What the documents say of tasks: they exist, their options exist, the tables are complete in both languages."""

import copy
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke.parser import Parser, ParserContext

from flotteq_tasks import namespace

ROOT = Path(__file__).resolve().parents[3]
DOCS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("hooks/README.md"), *ROOT.glob("sample/README.md")]
)
TWINS = ("README.md", "README.fr.md")
# Invoke takes the help out of a task while it makes its arguments: the copy may be spoilt, the tasks may not.
CONTEXTS: list[ParserContext] = copy.deepcopy(namespace).to_contexts()
BY_NAME = {name: context for context in CONTEXTS for name in (context.name, *context.aliases)}
# Options of `inv` itself that the documents use.
CORE = {"--list", "--help", "--version", "--list-format"}
CALL = re.compile(r"(?:^|(?<=[\s`(]))(?:\.venv/bin/)?inv (?P<words>[^`\n|&;>]+)")
# Words that stand for something.
NOT_A_TASK = {"TASK", "TÂCHE", "NAME", "…"}


def shown() -> dict[str, str]:
    """Name as people type it, and the text of `inv --list`, in the tables' order."""
    found = {}
    for name, aliases in namespace.task_names.items():
        short = next((one for one in aliases if one == name.partition(".")[0]), name)
        found[short] = " ".join((namespace[name].__doc__ or "").strip().splitlines()[0].split())
    return dict(sorted(found.items(), key=lambda pair: ("." in pair[0], pair[0])))


def table(text: str) -> dict[str, str]:
    """The rows between the marks."""
    body = text.partition("<!-- tasks -->")[2].partition("<!-- /tasks -->")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", body, re.M))


def split(text: str) -> list[str]:
    """Words of a call, without its comment."""
    return shlex.split(text.strip().rstrip(".,:"), comments=True)


def calls(path: Path) -> Iterator[tuple[list[str], bool]]:
    """Every `inv …` of a document; True where it stands in a block, to be pasted as it is."""
    inside = False
    for line in path.read_text().splitlines():
        if line.startswith("```"):
            inside = not inside
            continue
        # In a block a comment may name other calls: those are prose.
        code, _, comment = line.partition("#") if inside else ("", "", line)
        for match in CALL.finditer(code):
            yield split(match["words"]), True
        for match in re.finditer(r"`(?:\S+=\S+ )?(?:\.venv/bin/)?inv ([^`]+)`", comment):
            yield split(match[1].partition("&&")[0]), False


CALLS = [
    pytest.param(words, pasted, id=f"{path.relative_to(ROOT)}: {' '.join(words)}")
    for path in DOCS
    for words, pasted in calls(path)
]


def test_there_are_calls_to_check() -> None:
    assert len(CALLS) > 100


@pytest.mark.parametrize(("words", "pasted"), CALLS)
def test_every_call_names_a_task_and_its_options(words: list[str], pasted: bool) -> None:
    if words[0].startswith("-"):
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= CORE
        return
    name = words[0].removesuffix(":")
    if name in NOT_A_TASK or name.endswith(".*"):
        return
    assert name in BY_NAME, f"there is no task {name}"
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert options <= set(BY_NAME[name].flags), f"{name} has no {options - set(BY_NAME[name].flags)}"
    if pasted:
        # Also what is required and what takes a value.
        Parser(contexts=CONTEXTS).parse_argv(words)


@pytest.mark.parametrize("readme", TWINS)
def test_the_table_has_every_task_once(readme: str) -> None:
    assert list(table((ROOT / readme).read_text())) == list(shown())


def test_the_english_table_says_what_the_list_says() -> None:
    wanted = shown()
    expected = "\n".join(f"| `{name}` | {text} |" for name, text in wanted.items())
    assert table((ROOT / "README.md").read_text()) == wanted, f"the table must be:\n{expected}"


def test_the_twins_have_the_same_blocks() -> None:
    """Commands are the same in both languages; comments are not."""
    blocks = [
        [
            [line.partition("#")[0].rstrip() for line in block.splitlines()]
            for block in re.findall(r"^```\w*\n(.*?)^```", (ROOT / readme).read_text(), re.M | re.S)
        ]
        for readme in TWINS
    ]
    assert blocks[0] == blocks[1]


def test_the_twins_have_the_same_sections() -> None:
    counts = [len(re.findall(r"^## ", (ROOT / readme).read_text(), re.M)) for readme in TWINS]
    rows = [len(re.findall(r"^[|-] ", (ROOT / readme).read_text(), re.M)) for readme in TWINS]
    assert counts[0] == counts[1] and rows[0] == rows[1]
