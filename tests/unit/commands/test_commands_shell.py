"""The command value: quoting, masking, joining."""

import subprocess

import pytest
from unit_support import NASTY, execute

from flotteq_tasks.commands.shell import Command, Raw, bash, chain, either, pipe, script, sequence, sh
from flotteq_tasks.model.secret import Secret


@pytest.mark.parametrize("word", NASTY)
def test_every_word_arrives_as_it_was_given(word: str) -> None:
    assert execute(Command("printf", "<%s>", word)).stdout == f"<{word}>"


@pytest.mark.parametrize("wrap", [sh, bash], ids=["sh", "bash"])
@pytest.mark.parametrize("word", NASTY)
def test_words_survive_one_more_shell(word: str, wrap: object) -> None:
    assert callable(wrap)
    assert execute(wrap(Command("printf", "<%s>", word))).stdout == f"<{word}>"


@pytest.mark.parametrize("word", NASTY)
def test_words_survive_two_more_shells(word: str) -> None:
    assert execute(sh(bash(Command("printf", "<%s>", word)))).stdout == f"<{word}>"


@pytest.mark.parametrize("word", NASTY)
def test_arguments_of_a_script_arrive_as_they_were_given(word: str) -> None:
    assert execute(script("printf '<%s>' \"$1\"", word)).stdout == f"<{word}>"


def test_parts_may_be_words_numbers_and_lists_of_words() -> None:
    assert str(Command("tail", "-n", 5, ["a b", "c"], [])) == "tail -n 5 'a b' c"


def test_raw_text_is_not_quoted() -> None:
    assert str(Command("echo", "a", Raw("> /dev/null"))) == "echo a > /dev/null"


def test_a_secret_is_masked_for_people_and_quoted_for_the_shell() -> None:
    command = Command("login", Secret("p w"))
    assert (str(command), command.render()) == ("login •••", "login 'p w'")


def test_a_secret_is_masked_in_every_formatting_of_the_command() -> None:
    command = Command("login", Secret("canary"))
    assert "canary" not in f"{command}{command!r}{command!s}%s" % command


def test_argv_reveals_the_secret_to_the_program() -> None:
    assert Command("login", Secret("p w")).argv() == ["login", "p w"]


def test_argv_refuses_raw_shell_text() -> None:
    with pytest.raises(ValueError, match=r"^needs a shell: ls \| wc$"):
        Command("ls", Raw("|"), "wc").argv()


@pytest.mark.parametrize(("command", "needed"), [(Command("ls"), False), (Command("ls", Raw("*")), True)])
def test_only_raw_text_needs_a_shell(command: Command, needed: bool) -> None:
    assert command.needs_shell is needed


def test_commands_are_added_word_by_word() -> None:
    assert str(Command("docker") + Command("rm", "a b")) == "docker rm 'a b'"


@pytest.mark.parametrize(
    ("joined", "text"),
    [
        (chain(Command("a", "x y"), Command("b")), "a 'x y' && b"),
        (sequence(Command("a"), Command("b")), "a ; b"),
        (either(Command("a"), Command("b")), "a || b"),
        (pipe(Command("a"), Command("b", "c d")), "bash -o pipefail -c 'a | b '\"'\"'c d'\"'\"''"),
        (bash(Command("a", "b c")), "bash -c 'a '\"'\"'b c'\"'\"''"),
        (sh(Command("a")), "sh -c a"),
        (chain(Command("only")), "only"),
    ],
)
def test_commands_are_joined(joined: Command, text: str) -> None:
    assert str(joined) == text


def test_a_failure_anywhere_in_a_pipe_is_a_failure() -> None:
    assert execute(pipe(Command("false"), Command("cat"))).returncode == 1


def test_a_secret_never_travels_in_a_script() -> None:
    with pytest.raises(ValueError, match="a secret never travels in a script"):
        sh(Command("login", Secret("canary")))


def test_the_whole_text_of_a_script() -> None:
    assert script("\necho 1\n", "a b", 3).argv() == ["sh", "-c", "set -eu\necho 1\n", "flotteq", "a b", "3"]


def test_a_script_stops_at_its_first_failure() -> None:
    assert execute(script("false\necho on")).stdout == ""


def test_a_script_stops_at_an_unset_variable() -> None:
    assert execute(script('echo "$nobody"; echo on')).stdout == ""


def test_a_script_may_ask_for_bash() -> None:
    assert script("true", interpreter="bash").argv()[0] == "bash"


def test_two_equal_commands_are_equal() -> None:
    assert Command("a", ["b"]) == Command("a", "b")


def test_the_doctest_of_the_class() -> None:
    assert str(Command("echo", "a b", Secret("x"))) == "echo 'a b' •••"


def test_execution_without_a_shell_gives_the_same_words() -> None:
    command = Command("printf", "<%s>", "$(id) 'x'")
    assert subprocess.run(command.argv(), capture_output=True, text=True, check=True).stdout == "<$(id) 'x'>"
