"""The order of all tests, and the stack on a sandbox host that the slow ones share."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cli import Cli, Completed
from support.stack import INSTANCE, REPOSITORY, VERSION, Stack, make_project

from flotteq_tasks.operations.sandbox import lifecycle
from flotteq_tasks.operations.sandbox.images import Images

KEEP = os.environ.get("FLOTTEQ_KEEP_SANDBOX") == "1"
STACK_LIMIT = 900
# The first file finds the host bare, the last one ill-treats it.
_FILES = (
    "test_stack_main_path",
    "test_stack_browser",
    "test_stack_tasks",
    "test_stack_backup",
    "test_stack_restore",
    "test_stack_pitr",
    "test_stack_schedule",
    "test_stack_offsite",
    "test_stack_escrow",
    "test_stack_disaster",
    "test_stack_rotation",
    "test_stack_bad_input",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: unit, integration, those that need the host, those that need the whole stack."""
    for item in items:
        builds = item.get_closest_marker("stack") or "sandbox_images" in getattr(item, "fixturenames", ())
        if builds and not item.get_closest_marker("timeout"):
            # The first with the stack builds five images, the first before it those of the sandbox.
            item.add_marker(pytest.mark.timeout(STACK_LIMIT))
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> tuple[int, int]:
    name = item.path.stem
    if item.get_closest_marker("stack"):
        # The last one looks for secrets in all that was said before.
        last = len(_FILES) + (name == "test_stack_exposure")
        return 3, _FILES.index(name) if name in _FILES else last
    if item.get_closest_marker("host"):
        return 2, 0
    return (0 if "unit" in item.path.parts else 1), 0


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a line of progress past pytest's capturing: building images takes a while."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def line(text: str) -> None:
        with capture.global_and_fixture_disabled():
            sys.stderr.write(f"\n    {text}")
            sys.stderr.flush()

    return line


@pytest.fixture(scope="session")
def sandbox_images(say: Callable[[str], None]) -> Images:
    """Docker on this machine and the sandbox's images; made where they are missing, cached afterwards."""
    return lifecycle.prepare(REPOSITORY, say)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]) -> Iterator[Path]:
    """A project whose environment `sandbox` is a host of the tests' own."""
    sandbox = lifecycle.up(REPOSITORY, say, instance=INSTANCE)
    directory = sandbox.state / "project" if KEEP else tmp_path_factory.mktemp("project")
    yield make_project(directory, sandbox.environment.relative_to(REPOSITORY).as_posix())
    if not KEEP:
        lifecycle.down(REPOSITORY, say, instance=INSTANCE)
        shutil.rmtree(sandbox.state, ignore_errors=True)


@pytest.fixture(scope="session")
def inv(project: Path) -> Cli:
    """The command line in the project."""
    return Cli(project, {"FLOTTEQ_ENV": "sandbox"})


@pytest.fixture(scope="session")
def stack(inv: Cli, say: Callable[[str], None]) -> Stack:
    """The sample, deployed; from nothing unless a kept sandbox has it already."""
    sandbox = lifecycle.up(REPOSITORY, say, instance=INSTANCE)
    found = Stack(sandbox, inv, fresh=True, first={})
    if KEEP and inv("status", "--json").code == 0:
        found.fresh = False
        inv("deploy", "--version", VERSION).ok()
        return found
    found.wipe()
    shutil.rmtree(inv.project / ".secrets", ignore_errors=True)
    if not found.published(VERSION):
        found.publish(VERSION, frontends=True)
    supplied = ("stripe_secret_key", "stripe_webhook_secret", "smtp_password")
    calls: dict[str, Callable[[], Completed]] = {
        "generate": lambda: inv("secrets.generate"),
        **{name: _supply(inv, name) for name in supplied},
        "ssl": lambda: inv("ssl.init"),
        "deploy": lambda: inv("deploy", "--version", VERSION),
    }
    for name, call in calls.items():
        found.first[name] = call().ok()
        say(f"{' '.join(found.first[name].words)}: {found.first[name].seconds:.1f} s")
    return found


def _supply(inv: Cli, name: str) -> Callable[[], Completed]:
    return lambda: inv("secrets.set", name, stdin=f"canary-{name}-{os.urandom(9).hex()}\n")
