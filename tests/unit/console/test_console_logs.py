"""Events as people see them: in a plain log, on GitHub Actions, on a terminal."""

import io
import json
import re
import sys

import pytest

from flotteq_tasks.console.console import Console, decide
from flotteq_tasks.console.github import GithubLog, escape, escape_property
from flotteq_tasks.console.live import LiveLog
from flotteq_tasks.console.marks import marks
from flotteq_tasks.console.plain import PlainLog
from flotteq_tasks.model.events import Event, Note, Output, StepDone, StepFailed, StepStarted, Warned


class Stream(io.StringIO):
    """A text stream of a chosen encoding that may be a terminal."""

    def __init__(self, encoding: str = "utf-8", *, tty: bool = False) -> None:
        super().__init__()
        self._encoding, self._tty = encoding, tty

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._tty

    def write(self, text: str) -> int:
        text.encode(self._encoding)
        return super().write(text)


STORY: list[Event] = [
    StepStarted("pull"),
    Output("layer 1"),
    Note("a note"),
    StepDone("pull", 1.26, "5 images"),
    StepStarted("check"),
    Warned("look here"),
    StepFailed("check", 0.5, "two\nlines, 100 %"),
    StepDone("bare", 0.0),
]


@pytest.mark.parametrize(
    ("variables", "tty", "mode"),
    [
        ({}, True, "live"),
        ({}, False, "plain"),
        ({"CI": "true"}, True, "plain"),
        ({"TERM": "dumb"}, True, "plain"),
        ({"TERM": "xterm"}, True, "live"),
        ({"GITHUB_ACTIONS": "true"}, False, "github"),
        ({"GITHUB_ACTIONS": "true", "CI": "true"}, True, "github"),
        ({"GITHUB_ACTIONS": "false"}, True, "live"),
    ],
)
def test_how_events_are_shown(variables: dict[str, str], tty: bool, mode: str) -> None:
    assert decide(variables, Stream(tty=tty)) == mode


def test_a_console_sends_events_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Console.detect({}).report.note("hello")
    assert capsys.readouterr() == ("", "  hello\n")


def test_without_a_terminal_nobody_can_answer() -> None:
    assert Console.detect({}).interactive is False


def test_a_plain_log_whole_text() -> None:
    stream = Stream()
    for event in STORY:
        PlainLog(stream)(event)
    assert stream.getvalue() == (
        "  pull …\n"
        "  │ layer 1\n"
        "  a note\n"
        "✓ pull  1.3 s  5 images\n"
        "  check …\n"
        "! look here\n"
        "✗ check  0.5 s\n"
        "✓ bare  0.0 s\n"
    )


def test_a_plain_log_in_ascii_whole_text() -> None:
    stream = Stream("ascii")
    for event in STORY:
        PlainLog(stream)(event)
    assert stream.getvalue() == (
        "  pull ...\n"
        "  | layer 1\n"
        "  a note\n"
        "ok pull  1.3 s  5 images\n"
        "  check ...\n"
        "! look here\n"
        "FAILED check  0.5 s\n"
        "ok bare  0.0 s\n"
    )


def test_a_github_log_whole_text() -> None:
    stream = Stream()
    log = GithubLog(stream)
    for event in STORY:
        log(event)
    assert stream.getvalue() == (
        "::group::pull\n"
        "layer 1\n"
        "a note\n"
        "✓ pull  1.3 s  5 images\n"
        "::endgroup::\n"
        "::group::check\n"
        "::warning::look here\n"
        "✗ check  0.5 s\n"
        "::endgroup::\n"
        "::error title=check::two%0Alines, 100 %25\n"
        "✓ bare  0.0 s\n"
    )


def test_a_step_inside_a_step_closes_the_outer_group() -> None:
    stream = Stream()
    log = GithubLog(stream)
    for event in (StepStarted("a"), StepStarted("b"), StepDone("b", 1.0), StepDone("a", 2.0)):
        log(event)
    words = re.findall(r"^::(group|endgroup)::", stream.getvalue(), re.M)
    assert words == ["group", "endgroup", "group", "endgroup"]


@pytest.mark.parametrize(
    "text",
    [
        "::set-output name=a::b",
        "   ::error::x",
        "fine\n::add-mask::x",
        "fine\r::add-mask::x",
        "fine ##[add-mask]x",
        "##[group]x",
        "::stop-commands::guess",
    ],
)
@pytest.mark.parametrize("kind", [Note, Output])
def test_foreign_text_cannot_give_commands(text: str, kind: type[Note | Output]) -> None:
    stream = Stream()
    GithubLog(stream)(kind(text))
    first, rest = stream.getvalue().split("\n", 1)
    token = re.fullmatch(r"::stop-commands::([0-9a-f]{16})", first)
    assert token and rest == f"{text}\n::{token.group(1)}::\n"


@pytest.mark.parametrize("text", ["a::b", "C:: plain", "std::vector", "#[x]", ""])
def test_harmless_text_is_left_alone(text: str) -> None:
    stream = Stream()
    GithubLog(stream)(Output(text))
    assert stream.getvalue() == text + "\n"


def test_every_stop_of_commands_has_a_token_of_its_own() -> None:
    stream = Stream()
    for _ in range(2):
        GithubLog(stream)(Output("::x::"))
    assert len(set(re.findall(r"stop-commands::(\w+)", stream.getvalue()))) == 2


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (StepStarted("a\n::error::b"), "::group::a%0A::error::b"),
        (Warned("a\n::error::b"), "::warning::a%0A::error::b"),
        (Warned("50%0A"), "::warning::50%250A"),
    ],
)
def test_own_commands_stay_one_line(event: Event, line: str) -> None:
    stream = Stream()
    GithubLog(stream)(event)
    assert stream.getvalue() == line + "\n"


def test_the_title_of_an_error_ends_where_it_ends() -> None:
    stream = Stream()
    GithubLog(stream)(StepFailed("push r:1,file=x", 0.0, "why"))
    assert stream.getvalue().splitlines()[-1] == "::error title=push r%3A1%2Cfile=x::why"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("%", "%25"), ("\n", "%0A"), ("\r", "%0D"), ("%0A", "%250A"), ("a:b,c", "a:b,c")],
)
def test_data_is_escaped_percent_first(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_properties_are_escaped_more() -> None:
    assert escape_property("a:b,c%\n") == "a%3Ab%2Cc%25%0A"


def _live(events: list[Event], stream: Stream) -> str:
    log = LiveLog(stream, colour=False)
    for event in events:
        log(event)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).replace("\r", "")


def test_a_live_log_keeps_a_line_of_every_step() -> None:
    lines = _live(STORY, Stream(tty=True)).splitlines()
    kept = ["✓ pull            1.3 s  5 images", "! look here", "✗ check           0.5 s", "✓ bare            0.0 s"]
    assert [line for line in lines if line in kept] == kept


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (StepDone("pull", 1.26, "5 images"), "✓ pull            1.3 s  5 images"),
        (StepDone("bare", 0.0), "✓ bare            0.0 s"),
        (StepFailed("check", 0.5, "why"), "✗ check           0.5 s"),
        (Warned("[red]x[/red] [/]"), "! [red]x[/red] [/]"),
        (Output("[bold]:smile: 12"), "│ [bold]:smile: 12"),
        (Note("x" * 300), "  " + "x" * 300),
    ],
)
def test_a_live_log_shows_text_as_it_is(event: Event, shown: str) -> None:
    assert _live([event], Stream()) == shown + "\n"


def test_the_name_of_a_running_step_is_not_read_as_markup() -> None:
    assert "[red]pull[/nothing]" in _live([StepStarted("[red]pull[/nothing]"), StepDone("x", 0.0)], Stream(tty=True))


def test_a_live_log_on_a_terminal_that_knows_ascii_only() -> None:
    shown = _live([StepStarted("pull"), StepDone("pull", 1.0)], Stream("ascii", tty=True))
    assert shown.splitlines()[-1] == "ok pull            1.0 s"


@pytest.mark.parametrize(("encoding", "unicode"), [("utf-8", True), ("ascii", False), ("cp1252", False), ("x", False)])
def test_signs_are_those_that_a_stream_can_encode(encoding: str, unicode: bool) -> None:
    assert marks(Stream(encoding)).unicode is unicode


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_a_result_is_told_where_its_signs_cannot_be_shown(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    console = Console.detect({})
    console.line("v1 → v2")
    console.document({"who": "Zoë 中"})
    stream.flush()
    line, _, document = stream.buffer.getvalue().decode(encoding).partition("\n")  # type: ignore[attr-defined]
    assert (line, json.loads(document)) == ("v1 ? v2", {"who": "Zoë 中"})
