"""Tables, numbers, errors, questions, documents."""

import io
import json
import sys
from collections.abc import Callable

import pytest
from unit_support import instance

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.console import results
from flotteq_tasks.console.ask import ask_secret
from flotteq_tasks.console.confirm import confirm
from flotteq_tasks.console.console import Console
from flotteq_tasks.console.errors import error_text, show_error
from flotteq_tasks.console.release_results import show_pruned, show_releases, show_usage
from flotteq_tasks.console.table import duration, render_table, size
from flotteq_tasks.model.errors import FlotteqError, Locked, SecretError, UsageError
from flotteq_tasks.model.events import Report
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.release import Release
from flotteq_tasks.model.secret import Secret
from flotteq_tasks.operations.certificates import Forecast, Foreseen
from flotteq_tasks.operations.control import Volume
from flotteq_tasks.operations.doctor import Finding
from flotteq_tasks.operations.lock import LockState
from flotteq_tasks.operations.migrating import Migrated
from flotteq_tasks.operations.releases import Listed
from flotteq_tasks.operations.retention import Item, Usage
from flotteq_tasks.operations.secret_tasks import SecretStatus
from flotteq_tasks.operations.status import ServiceStatus, Status


def test_a_table_whole_text() -> None:
    rows = [("core", "12", "x"), ("a longer one", "3", "")]
    assert render_table(("NAME", "N", "REST"), rows, right=[1]) == (
        "NAME           N  REST\n"
        "core          12  x\n"
        "a longer one   3"
    )  # fmt: skip


def test_wide_characters_take_two_columns() -> None:
    assert render_table(("A", "B"), [("日本", "x"), ("abcd", "y")]) == "A     B\n日本  x\nabcd  y"


def test_on_a_narrow_terminal_the_widest_cells_are_cut() -> None:
    rows = [("core", "1234567890", "日本語日本語"), ("a", "1", "x")]
    table = render_table(("NAME", "N", "REST"), rows, right=[1], width=24)
    assert table == "NAME         N  REST\ncore  1234567…  日本語…\na            1  x"
    assert render_table(("NAME", "N", "REST"), rows, width=40) == render_table(("NAME", "N", "REST"), rows)


def test_a_table_that_cannot_fit_keeps_the_names_of_its_rows_and_some_of_every_column() -> None:
    table = render_table(("A", "B"), [("abcdefgh", "12345678")], width=3, cut="...")
    assert table == "A         B\nabcdefgh  1..."


def test_a_table_that_does_not_fit_loses_what_is_empty_first() -> None:
    rows = [("core", "-", "12345678", ""), ("web", "-", "1", "")]
    assert (
        render_table(("NAME", "NONE", "N", ""), rows, right=[2], width=14)
        == "NAME         N\ncore  12345678\nweb          1"
    )


def test_a_table_without_rows_is_its_head() -> None:
    assert render_table(("A", "B"), []) == "A  B"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.9, "0 s"), (41.9, "41 s"), (59, "59 s"), (60, "1 min"), (61, "1 min"), (3599, "59 min"),
        (3600, "1 h"), (3660, "1 h 1 min"), (7199, "1 h 59 min"), (86400, "1 d"), (86400 + 3599, "1 d"),
        (86400 * 3 + 3600 * 4 + 59, "3 d 4 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (6_710_886, "6.4 MiB"), (1 << 30, "1.0 GiB"),
        (1 << 40, "1.0 TiB"), (5000 << 40, "5000.0 TiB"),
    ],
)  # fmt: skip
def test_sizes(amount: int, text: str) -> None:
    assert size(amount) == text


def test_the_sentence_that_matters_is_the_last_and_its_remedy_below_it() -> None:
    error = FlotteqError("it broke", hint="do this\nthen that", details="one\ntwo")
    assert error_text(error, failed="✗", bar="│") == "  │ one\n  │ two\n✗ it broke\n  try: do this\n       then that"


def test_an_error_without_more_is_one_line() -> None:
    assert error_text(FlotteqError("it broke"), failed="✗", bar="│") == "✗ it broke"


def test_an_error_goes_to_standard_error_only(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(FlotteqError("it broke"), json=False)
    out, err = capsys.readouterr()
    assert (out, err.endswith(" it broke\n")) == ("", True)


def test_an_error_as_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(Locked("taken by é", hint="wait", details="one\ntwo"), json=True)
    document = json.loads(capsys.readouterr().out)
    error = {"code": 75, "name": "locked", "message": "taken by é", "hint": "wait", "details": ["one", "two"]}
    assert document == {"ok": False, "error": error}


def test_on_github_an_error_is_an_annotation_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    show_error(FlotteqError("a\nb"), json=False)
    assert capsys.readouterr().err.splitlines()[-1] == "::error::a%0Ab"


def test_elsewhere_there_are_no_annotations(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    show_error(FlotteqError("a"), json=False)
    assert "::error" not in capsys.readouterr().err


def test_a_yes_on_the_command_line_asks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    confirm("Sure?", yes=True, interactive=False)
    assert capsys.readouterr() == ("", "")


def test_nobody_here_to_answer_is_a_no() -> None:
    with pytest.raises(UsageError) as caught:
        confirm("Sure?", yes=False, interactive=False)
    assert (caught.value.message, caught.value.hint) == (
        "Sure? Nobody is here to answer; nothing was changed", "add --yes",
    )  # fmt: skip


@pytest.mark.parametrize("typed", ["production\n", " production \n"])
def test_the_word_goes_on(typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    confirm("Sure?", yes=False, word="production", interactive=True)
    assert capsys.readouterr() == ("", "Sure?\nType 'production' to go on: ")


@pytest.mark.parametrize("typed", ["yes\n", "\n", "", "Production\n"])
def test_anything_else_stops(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    with pytest.raises(UsageError, match=r"^not confirmed; nothing was changed$"):
        confirm("Sure?", yes=False, word="production", interactive=True)


class _Input(io.TextIOWrapper):
    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("sent", "value"), [(b"x", b"x"), (b"x\n", b"x"), (b"x\r\n", b"x"), (b"x\n\n", b"x\n"), (b" x ", b" x ")]
)
def test_a_secret_from_standard_input_loses_one_line_end(sent: bytes, value: bytes) -> None:
    assert ask_secret("mail", _Input(io.BytesIO(sent))) == value


@pytest.mark.parametrize("sent", [b"", b"\n"])
def test_an_empty_secret_is_refused(sent: bytes) -> None:
    with pytest.raises(SecretError, match=r"^secret mail is empty$"):
        ask_secret("mail", _Input(io.BytesIO(sent)))


def _console(*, json: bool = False) -> Console:
    return Console("plain", Report(lambda event: None), json=json)


def test_a_document_never_shows_a_secret() -> None:
    with pytest.raises(TypeError, match=r"^a secret is never shown$"):
        _console().document({"a": Secret("canary")})


def test_a_document_shows_sets_sorted_and_values_of_our_own(capsys: pytest.CaptureFixture[str]) -> None:
    _console().document({"b": frozenset({2, 1}), "a": Finding("w", "f"), "é": (2, 1)})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {
        "b": [1, 2], "a": {"what": "w", "found": "f", "ok": True, "fix": ""}, "é": [2, 1],
    }  # fmt: skip
    assert "é" in shown


CORE = ServiceStatus("core", "v1", 2, 2, 2, 3700.0, 0, "api.fleet.example")
STATUS = Status(
    "production", "fleet.example", "v1", "r1",
    (CORE, ServiceStatus("web-app", "v1", 1, 2, 1, 59.0, 0, "", "1 of 2 running"),
     ServiceStatus("store", "-", 0, 1, 0, 0.0, 0, "", "not deployed")),
    True, 12.7, 3 << 30, 10 << 30,
)  # fmt: skip
TEXTS: list[tuple[Callable[[Console], None], str]] = [
    (
        lambda console: results.show_status(console, STATUS),
        "production on fleet.example: v1\n\n"
        "SERVICE  VERSION  REPLICAS  UP         HEALTH          DOMAIN\n"
        "core     v1       2         1 h 1 min  healthy         api.fleet.example\n"
        "web-app  v1       1/2       59 s       1 of 2 running\n"
        "store    -        0/1       -          not deployed\n\n"
        "certificate  13 days left\n"
        "disk         3.0 GiB free of 10.0 GiB\n",
    ),
    (
        lambda console: results.show_containers(
            console, Facts(instances=(instance("web"), instance("core", id="i" * 20, image="r/core:v1@sha256:ab")))
        ),
        "CONTAINER     ID            STATE    HEALTH   RESTARTS  IMAGE\n"
        "fleet-core-1  iiiiiiiiiiii  running  healthy         0  core:v1\n"
        "fleet-web-1   id-web-1      running  healthy         0  web:v1\n",
    ),
    (
        lambda console: results.show_findings(
            console,
            [Finding("a", "good"), *(Finding(*one, ok=False, fix="fix it") for one in (("b", "bad"), ("c", "x")))],
        ),
        "    WHAT  FOUND\nok  a     good\n!!  b     bad\n!!  c     x\n\ntry:\n  fix it\n",
    ),
    (
        lambda console: results.show_findings(console, [Finding("a", "good")]),
        "    WHAT  FOUND\nok  a     good\n",
    ),
    (
        lambda console: results.show_secrets(
            console, [SecretStatus("db", "generated", "0123", "0123"), SecretStatus("mail", "supplied", "", "")]
        ),
        "SECRET  SOURCE     HERE  ON HOST\ndb      generated  0123  0123\nmail    supplied   -     -        missing\n",
    ),
    (
        lambda console: results.show_volumes(console, [Volume("fleet_data", "/v", 2048, ("a", "b"))]),
        "VOLUME         SIZE  USED BY\nfleet_data  2.0 KiB  a, b\n",
    ),
    (
        lambda console: results.show_files(console, {"nginx.conf": 120, "a": 7}),
        "FILE        BYTES\nnginx.conf    120\na               7\n",
    ),
    (
        lambda console: show_usage(console, Usage((("volumes", 2048),), (), 1 << 30, 2 << 30)),
        "WHAT                   SIZE\nvolumes             2.0 KiB\nfree     1.0 GiB of 2.0 GiB\n\n"
        "retention would remove nothing\n",
    ),
    (
        lambda console: show_pruned(
            console, [Item("image", "core:v1", 3 << 20), Item("image", "web:v1", 1 << 20), Item("dump", "1-v1", 512)]
        ),
        "WHAT    COUNT     SIZE  WHICH\nimages      2  4.0 MiB  core:v1, web:v1\ndumps       1    512 B  1-v1\n"
        "total       3  4.0 MiB\n",
    ),
    (
        lambda console: results.show_lock(console, LockState("fleet.example", False, {})),
        "fleet.example is not locked\n",
    ),
    (
        lambda console: results.show_accepted(console, ""),
        "nginx accepts the configuration on the host\n",
    ),
    (
        lambda console: results.show_migrations(console, Migrated(("a", "b"), ("c",))),
        "applied  a\napplied  b\npending  c\n",
    ),
    (
        lambda console: results.show_migrations(console, Migrated(("a", "b"), ran=True)),
        "2 migrations are applied\n",
    ),
    (
        lambda console: results.show_settings(console, [("a.b", ("x", 1), "flotteq.toml"), ("c", None, "default")]),
        'KEY  VALUE     FROM\na.b  ["x", 1]  flotteq.toml\nc              default\n',
    ),
    (
        lambda console: results.show_problems(console, []),
        "every line means the same to python-dotenv and to Compose\n",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("show", "text"), TEXTS)
def test_results_whole_text(show: Callable[[Console], None], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(_console())
    assert capsys.readouterr() == (text, "")


@pytest.mark.parametrize("show", [show for show, _ in TEXTS])
def test_results_as_json_are_one_document(show: Callable[[Console], None], capsys: pytest.CaptureFixture[str]) -> None:
    show(_console(json=True))
    out, err = capsys.readouterr()
    assert (type(json.loads(out)) in (dict, list), err) == (True, "")


@pytest.mark.parametrize(
    ("here", "host", "note"),
    [("", "", "missing"), ("a", "b", "differs"), ("a", "a", ""), ("", "b", ""), ("a", "", "not pushed")],
)
def test_what_is_said_of_a_secret(here: str, host: str, note: str) -> None:
    assert SecretStatus("x", "generated", here, host).note == note


LISTED = [
    Listed(
        Release("20261124T211146Z-v2", "v2", {}, created="2026-11-24T21:11:46+00:00", by="ada on ci", size=3 << 20,
                seconds=32.4), live=True, changed=("core", "web-app", "x"),
    ),
    Listed(Release("20261124T200000Z-v1", "v1", {}, created="2026-11-24T20:00:00+00:00", by="bob", result="failed"),
           live=False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (
            "80",
            "   VERSION  WHEN (UTC)        BY         TOOK     SIZE  RESULT  CHANGED\n"
            "*  v2       2026-11-24 21:11  ada on ci  32 s  3.0 MiB  good    3 services\n"
            "   v1       2026-11-24 20:00  bob        -           -  failed\n"
            "\nids, digests, reasons of failures: inv releases --json\n",
        ),
        (
            "120",
            "   VERSION  WHEN (UTC)        BY         TOOK     SIZE  RESULT  CHANGED     ID\n"
            "*  v2       2026-11-24 21:11  ada on ci  32 s  3.0 MiB  good    3 services  20261124T211146Z-v2\n"
            "   v1       2026-11-24 20:00  bob        -           -  failed              20261124T200000Z-v1\n",
        ),
    ],
)
def test_releases_fit_the_terminal(
    columns: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    show_releases(_console(), LISTED)
    assert capsys.readouterr().out == text


class _Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


LONG = Facts(
    instances=tuple(
        instance(name, image=f"registry.example.com:5000/team/fleet-{name}:v1.2.0@sha256:{'a' * 64}", id="0" * 64)
        for name in ("frontend-client", "frontend-internal")
    )
)


@pytest.mark.parametrize(("terminal", "widest"), [(True, 80), (False, 110)])
def test_the_containers_fit_a_terminal_and_are_whole_in_a_pipe(
    terminal: bool, widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream = _Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    results.show_containers(_console(), LONG)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= widest
    assert all(("…" in line) is terminal for line in lines[1:])
    assert [line.split()[0] for line in lines[1:]] == ["fleet-frontend-client-1", "fleet-frontend-internal-1"]


def test_what_an_authority_would_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    gained = Foreseen(("a.x", "b.x"), "it gains b.x", (Command("certbot", "certonly"),))
    found = Forecast((gained,), ("a silent server",))
    results.show_order(_console(), found, "https://ca.x/dir")
    assert capsys.readouterr().out.splitlines() == [
        "https://ca.x/dir would be asked for a certificate of 2 names: it gains b.x", "  a.x", "  b.x",
        "note: a silent server", "$ certbot certonly", "nothing was asked or changed",
    ]  # fmt: skip
    results.show_order(_console(), Forecast((Foreseen(("a.x",), "", ()),)), "https://ca.x/dir")
    assert "nothing would be ordered: the certificate of a.x is good" in capsys.readouterr().out
