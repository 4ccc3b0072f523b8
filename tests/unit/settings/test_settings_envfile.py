"""The .env files. The expected values of Compose and bash were measured with Compose 2.40.3 and bash 5.2."""
# ruff: noqa: E501 - messages are compared whole, one case a line

import io
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import example, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from flotteq_tasks.model.errors import SettingsError
from flotteq_tasks.settings import dialects, envfile
from flotteq_tasks.settings.loader import load

REPOSITORY = Path(__file__).parents[3]

EXPANDS = "Compose expands $ where python-dotenv does not: put the value in single quotes"
DIFFER = "python-dotenv and Compose read different values: put the value in single quotes, without escapes"
QUOTES = "is not KEY=value: check its quotes"
BASH = "bash reads another value: put it in single quotes, without spaces around ="
NO_NAME = "is not a variable name: use letters, digits and _"
REFUSED = None  # Compose stops with an error


def unwritable(what: str) -> str:
    return f"its value contains {what}, which readers of .env files disagree about: put it in secrets"


# text, what Compose reads for A, verdict
MEASURED = [
    # the table of the research
    ("A=pa$word", "pa", EXPANDS),
    ("A=pa$$word", "pa$word", EXPANDS),
    ("A='pa$word'", "pa$word", ""),
    ('A="pa$word"', "pa", EXPANDS),
    ("A=pa\\$word", "pa\\", EXPANDS),
    ('A="pa\\$word"', "pa$word", EXPANDS),
    ("A='${X:-d}'", "${X:-d}", unwritable("${")),
    ("A=ab #cd", "ab", ""),
    ("A=ab#cd", "ab#cd", ""),
    ("A=  x  ", "x", BASH),
    ("A='quo'te'", REFUSED, QUOTES),
    ('A={"a":"b c"}', '{"a":"b c"}', BASH),
    ('A="multi\nline"', "multi\nline", unwritable("a line break")),
    ("export A=x", "x", "remove `export`: `docker run --env-file` refuses it"),
    # more of the kind
    ("A=", "", ""),
    ("A=''", "", ""),
    ("A= #c", "#c", DIFFER),
    ("A=x\t#c", "x\t#c", DIFFER),
    ('A="x" # c', "x", ""),
    ("A=x # c ${X", "x", ""),
    ('A="a\\nb"', "a\nb", unwritable("a line break")),
    ("A='a\\nb'", "a\\nb", ""),
    ("A=a\\nb", "a\\nb", BASH),
    ("A='a\\\\b'", "a\\\\b", DIFFER),
    ("A='a\\'b'", "a'b", unwritable("a single quote")),
    ('A="it\'s"', "it's", unwritable("a single quote")),
    ('A="a\\"b"', 'a"b', ""),
    ('A="a\\0101b"', "aAb", DIFFER),
    ('A="a\\012b"', "a\\12b", DIFFER),
    ('A="\\a\\c"', "\a\\c", unwritable("a control character")),
    ("A=a\\", "a\\", unwritable("a double or final backslash")),
    ("A=a b", "a b", BASH),
    ("A = x", "x", BASH),
    ("A: x", "x", QUOTES),
    ('A="${X:-d}"', "d", EXPANDS),
    ("A=${X-$Y}z", "z", EXPANDS),
    ("A=${X:-a:-b}", "a:-b", EXPANDS),
    ("A=${X:+a}", "", EXPANDS),
    ("A=${X", REFUSED, "Compose refuses the line: its ${ is not a reference Compose understands"),
    ("A=${X:?no}", REFUSED, "Compose refuses the line: it requires X"),
    ("A=$1", "$1", BASH),
    ("A=5$", "5$", BASH),
    ("A=`id`", "`id`", BASH),
    ("A=$(id)", "$(id)", BASH),
    ("A=~/x", "~/x", BASH),
    ("A=a;b", "a;b", BASH),
    ("A=*", "*", ""),
    ("A=é", "é", ""),
    ("A==", "=", ""),
    ("A='a' b", "a", QUOTES),
    ('A="a""b"', REFUSED, QUOTES),
    ("A='a", REFUSED, QUOTES),
    ("A=x\r", "x", BASH),
    ("A=' x '", " x ", ""),
    ("A='$$'", "$$", ""),
]


@pytest.mark.parametrize(("text", "expected", "verdict"), MEASURED)
def test_verdict_and_what_compose_reads(text, expected, verdict):
    problems = envfile.lint(f"{text}\n", ".env.x")
    assert [problem.message for problem in problems] == ([verdict] if verdict else [])
    assert all((problem.severity == "warning") == (problem.message == BASH) for problem in problems)
    if expected is REFUSED:
        with pytest.raises(dialects.UnreadableError):
            dialects.compose(f"{text}\n", {})
    else:
        assert dict(dialects.compose(f"{text}\n", {}))["A"] == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x", "x"), ("'a b'", "a b"), ('"a b"', "a b"), ("x # c", "x"), ("", ""), (" x", None), ("a b", None), ("~", None),
        ("a:~", None), ("a~", "a~"), ("a#b", "a#b"), ('"a\\"b"', 'a"b'), ('"a\\b"', "a\\b"), ("a\\ b", "a b"), ("$X", None),
        ('"$X"', None), ("'$X'", "$X"), ("a'b'\"c\"", "abc"), ('{"a":1}', "{a:1}"), ("(a)", None), ("'a", None), ("x\r", None),
    ],
)  # fmt: skip
def test_bash(text, value):
    assert dialects.bash(text) == value


def test_compose_refers_to_earlier_lines():
    assert dialects.compose("A=1\nB=${A}2\nC\n", {}) == [("A", "1"), ("B", "12"), ("C", None)]
    assert envfile.lint("A=1\nB=$A\n", "f")[0].message == EXPANDS


def test_a_reference_that_gives_its_own_text_is_found():
    assert [problem.message for problem in envfile.lint("B='$B'\nA=$B\n", "f")] == [EXPANDS]


def test_lines_are_those_of_the_file():
    text = "# comment\n\nGOOD=1\n\n  # more\nA=pa$word\nB='two\nlines'\nexport C=1\nGOOD=2\nD\nE.F=1\n"
    assert [str(problem) for problem in envfile.lint(text, ".env.production")] == [
        f".env.production: line 6: A: {EXPANDS}",
        f".env.production: line 7: B: {unwritable('a line break')}",
        ".env.production: line 9: C: remove `export`: `docker run --env-file` refuses it",
        ".env.production: line 10: GOOD: is set twice, line 3 has it too: remove one",
        ".env.production: line 11: has no =: write KEY=value, or KEY= for an empty value",
        f".env.production: line 12: E.F: {NO_NAME}",
    ]


def test_windows_line_ends_are_counted():
    assert [problem.line for problem in envfile.lint("\r\nA=1\r\n\r\nB=$A\r\n", "f")] == [2, 4]


def test_secrets():
    problems = envfile.lint(
        "STRIPE_SECRET_KEY=sk\nSTRIPE_PUBLISHABLE_KEY=pk\n", ".env.x", secrets=["stripe_secret_key"]
    )
    assert [str(problem) for problem in problems] == [
        ".env.x: line 1: STRIPE_SECRET_KEY: belongs to secrets: inv secrets.set stripe_secret_key"
    ]


def test_byte_order_mark():
    assert [str(problem) for problem in envfile.lint("\ufeffA=1\n", "f")] == [
        "f: line 1: begins with a byte order mark: save the file as UTF-8 without it"
    ]


def test_messages_show_no_value():
    text = "A=$geheim\nB='geheim'x'\nC=\"geheim\\012\"\ngeheim\n'geheim\nD=${geheim\nE=~geheim\n"
    assert not [problem for problem in envfile.lint(text, "f") if "geheim" in str(problem)]
    assert len(envfile.lint(text, "f")) >= 6


class TestRender:
    def test_bare_and_quoted(self):
        values = {"A": "https://a.b/c?", "B": "x,y:1%+@=", "C": "", "D": "a b", "E": "pa$word", "F": 'say "hi" # \\n'}
        assert envfile.render(values) == (
            "A='https://a.b/c?'\nB=x,y:1%+@=\nC=\nD='a b'\nE='pa$word'\nF='say \"hi\" # \\n'\n"
        )

    @pytest.mark.parametrize(
        ("value", "what"),
        [
            ("it's", "a single quote"),
            ("a\nb", "a line break"),
            ("a\rb", "a line break"),
            ("a\0b", "a control character"),
            ("${X}", "${"),
            ("a\\", "a double or final backslash"),
            ("a\\\\b", "a double or final backslash"),
            ("\ud800", "text that is not Unicode"),
        ],
    )
    def test_refuses(self, value, what):
        with pytest.raises(SettingsError) as caught:
            envfile.render({"GOOD": "1", "KEY": value})
        assert caught.value.message == f".env: KEY: {unwritable(what)}"
        assert caught.value.hint == "inv secrets.set NAME keeps a value in a file of its own"

    @pytest.mark.parametrize("key", ["", "1A", "A-B", "A B", "A=", "A\n", "é"])
    def test_refuses_keys(self, key):
        with pytest.raises(SettingsError, match="is not a variable name"):
            envfile.render({key: "1"})

    # Characters that some reader treats specially come up often.
    VALUES = st.text(st.sampled_from('ab1 $#{}\\"`~=:%!&;|<>()*?é\t\x85\u2028-_./@+,') | st.characters())
    KEYS = st.from_regex(envfile.KEY, fullmatch=True)

    @hypothesis(deadline=None)
    @given(st.dictionaries(KEYS, VALUES, max_size=4))
    def test_every_reader_reads_back_what_was_written(self, values):
        writable = {key: value for key, value in values.items() if not envfile.unwritable(value)}
        text = envfile.render(writable)
        assert envfile.parse(text) == writable
        assert dict(dialects.compose(text, {})) == writable
        assert dotenv_values(stream=io.StringIO(text), interpolate=True) == writable
        for line, value in zip(text.split("\n"), writable.values(), strict=False):
            assert dialects.bash(line.partition("=")[2]) == value
        assert envfile.lint(text, "f") == []

    @hypothesis(deadline=None)
    @given(st.dictionaries(KEYS, VALUES, max_size=4))
    def test_refuses_exactly_what_is_unwritable(self, values):
        if any(map(envfile.unwritable, values.values())):
            with pytest.raises(SettingsError):
                envfile.render(values)
        else:
            assert envfile.render(values).count("\n") == len(values)


LINE = st.text(st.sampled_from("ABX=1 $#{}\\\"':-?+`~\t\n") | st.characters(exclude_categories=["Cs"]), max_size=12)


@hypothesis(deadline=None)
@given(st.lists(LINE, max_size=4))
@example(["\x1f"])
def test_a_file_without_errors_is_read_the_same(lines):
    text = "".join(f"{line}\n" for line in lines)
    if not [problem for problem in envfile.lint(text, "f") if problem.severity == "error"]:
        values = envfile.parse(text)
        assert dict(dialects.compose(text, {})) == values
        assert envfile.parse(envfile.render(values)) == values


@pytest.mark.parametrize("name", ["production", "staging", "sandbox", "example"])
def test_our_own_files(name):
    text = (REPOSITORY / f".env.{name}").read_text("utf-8")
    secrets = load(REPOSITORY, "production", {}).secrets
    assert envfile.lint(text, name, secrets=secrets) == []
    assert set(envfile.parse(text)) == set(VARIABLES.split())


# What the backend reads (its contract), without secrets.
VARIABLES = """
NODE_ENV PORT DB_HOST DB_PORT DB_USER DB_NAME REDIS_ENABLED REDIS_HOST REDIS_PORT JWT_ACCESS_EXPIRES JWT_REFRESH_EXPIRES
PARTNER_TOKEN_EXPIRY CORS_ORIGIN FRONTEND_CLIENT_URL FRONTEND_URL PARTNER_FRONTEND_URL APP_URL STRIPE_PUBLISHABLE_KEY
SMTP_HOST SMTP_PORT SMTP_SECURE SMTP_USER EMAIL_FROM BCRYPT_ROUNDS MAX_FILE_SIZE ALLOWED_FILE_TYPES CACHE_TTL LOG_LEVEL
"""
