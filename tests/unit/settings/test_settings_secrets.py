"""Local secret files: one usable value each, readable by nobody else, never shown."""

import re
import stat
import subprocess
import traceback

import pytest

from flotteq_tasks.model.errors import ExitCode, SecretError
from flotteq_tasks.model.secret import Secret
from flotteq_tasks.settings import secrets


def put(root, content: bytes, mode: int = 0o600, name: str = "db_password"):
    path = root / ".secrets" / "production" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "secret db_password is missing"),
        (b"", "secret db_password is empty"),
        (b" \n", "secret db_password is empty"),
        (b"geheim\n", "secret db_password ends with a line break: an editor or `echo` added it"),
        (b"geheim\r\n", "secret db_password ends with a line break: an editor or `echo` added it"),
        (b"geh\neim", "secret db_password contains a line break: it must be one line"),
        (b"geh\neim\n", "secret db_password contains a line break: it must be one line"),
        (b"geheim\0", "secret db_password contains a NUL byte: no environment variable can hold it"),
        (b"geheim\xff", "secret db_password is not UTF-8 text"),
    ],
)
def test_unusable_value(raw, message):
    with pytest.raises(SecretError) as caught:
        secrets.check_value("db_password", raw)
    assert caught.value.message == message
    assert caught.value.hint == "inv secrets.set db_password"
    assert caught.value.exit_code == ExitCode.USAGE
    assert "geh" not in "".join(traceback.format_exception(caught.value, chain=True)).replace('b"geh', "")


def test_usable_value():
    assert secrets.check_value("a", "pässwörd with spaces".encode()).reveal() == "pässwörd with spaces"


class TestRead:
    def test_value(self, tmp_path):
        put(tmp_path, b"geheim")
        assert secrets.read(tmp_path, "production", "db_password") == Secret("geheim")

    def test_none(self, tmp_path):
        assert secrets.read(tmp_path, "production", "db_password") is None

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o602, 0o610])
    def test_readable_by_others(self, tmp_path, mode):
        path = put(tmp_path, b"geheim", mode)
        with pytest.raises(SecretError) as caught:
            secrets.read(tmp_path, "production", "db_password")
        assert caught.value.message == f"{path}: readable by others (mode {mode:04o})"
        assert caught.value.hint == f"chmod 600 {path}"

    def test_line_break(self, tmp_path):
        put(tmp_path, b"geheim\n")
        with pytest.raises(SecretError, match="ends with a line break"):
            secrets.read(tmp_path, "production", "db_password")

    def test_directory(self, tmp_path):
        (tmp_path / ".secrets" / "production" / "db_password").mkdir(parents=True, mode=0o700)
        with pytest.raises(SecretError, match=r"db_password: cannot be read: Is a directory"):
            secrets.read(tmp_path, "production", "db_password")

    @pytest.mark.parametrize("name", ["../../etc/passwd", "A", "a-b", ""])
    def test_name(self, tmp_path, name):
        with pytest.raises(SecretError, match="is no secret name: use a-z, 0-9 and _"):
            secrets.read(tmp_path, "production", name)


class TestWrite:
    def test_modes(self, tmp_path):
        (tmp_path / ".secrets").mkdir(mode=0o755)
        path = secrets.write(tmp_path, "production", "db_password", Secret("geheim"))
        assert path == tmp_path / ".secrets" / "production" / "db_password"
        assert path.read_bytes() == b"geheim"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
        assert path.stat().st_nlink == 1
        assert list(path.parent.iterdir()) == [path]

    def test_git_does_not_see_them_whatever_the_project_ignores(self, tmp_path):
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
        secrets.write(tmp_path, "production", "db_password", Secret("geheim"))
        seen = subprocess.run(
            ["git", "-C", str(tmp_path), "status", "--short"], capture_output=True, text=True, check=True
        )
        assert seen.stdout == ""

    def test_never_overwrites(self, tmp_path):
        path = secrets.write(tmp_path, "production", "db_password", Secret("one"))
        with pytest.raises(SecretError) as caught:
            secrets.write(tmp_path, "production", "db_password", Secret("two"))
        assert caught.value.message == "secret db_password of production exists already: nothing was changed"
        assert caught.value.hint == "inv secrets.generate --rotate db_password"
        assert path.read_text() == "one"
        assert list(path.parent.iterdir()) == [path]

    def test_replaces_when_told(self, tmp_path):
        secrets.write(tmp_path, "production", "db_password", Secret("one"))
        path = secrets.write(tmp_path, "production", "db_password", Secret("two"), replace=True)
        assert path.read_text() == "two"
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("value", ["", "a\n"])
    def test_refuses_what_could_not_be_read(self, tmp_path, value):
        with pytest.raises(SecretError):
            secrets.write(tmp_path, "production", "db_password", Secret(value))
        assert not (tmp_path / ".secrets").exists()


def test_generate():
    values = {secrets.generate().reveal() for _ in range(100)}
    assert len(values) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", value) for value in values)


def test_fingerprint():
    one = secrets.fingerprint("db_password", Secret("geheim"))
    assert one == "3fce772146bc"
    assert one != secrets.fingerprint("redis_password", Secret("geheim"))
    assert one != secrets.fingerprint("db_password", Secret("geheim2"))
