"""What graders that others wrote say of the edge as it stands on the host."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support.graders import Graders, graders
from support.stack import API, DOMAINS, REPOSITORY, Stack

pytestmark = pytest.mark.stack

MODULES = "/observatory/node_modules"
COMPOSE = "compose/docker-compose.production.yml"
ASKED = ("testssl", "mozilla-5.7", "mozilla-6.0", "observatory", "csp-evaluator")


@pytest.fixture(scope="module")
def grade(stack: Stack, say: Callable[[str], None]) -> Graders:
    """The graders, beside the host."""
    return graders(stack.sandbox.instance, stack.sandbox.acme_root, say)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("grade")
def test_all_graders_give_their_best_to_every_name(stack: Stack) -> None:
    done = stack.inv("audit.edge", "--graders", "--json", timeout=850).ok()
    found = json.loads(done.out)["checks"]
    count = Counter(one["id"] for one in found)
    assert {name: count[name] for name in ASKED} == dict.fromkeys(ASKED, len(DOMAINS))
    said = {(one["id"], one["domain"]): one["found"] for one in found}
    assert {said["testssl", domain] for domain in DOMAINS.values()} == {"grade A+"}
    assert {said["observatory", domain] for domain in DOMAINS.values() if domain != API} == {"A+, 120 points"}
    assert said["observatory", API] == "A+, 130 points"


def test_csp_evaluator_can_find_something(grade: Graders) -> None:
    done = grade.run("node", "/observatory/csp.mjs", "script-src 'self' 'unsafe-inline'", limit=60)
    assert min(one["severity"] for one in json.loads(done.stdout)) == 10, done.stdout


def test_the_compose_file_passes_dclint(grade: Graders, tmp_path: Path) -> None:
    def lint(folder: Path) -> tuple[int, str]:
        words = ("node", f"{MODULES}/dclint/bin/dclint.cjs", "--max-warnings", "0", "--config", ".dclintrc", COMPOSE)
        done = grade.run(*words, limit=60, folder=folder)
        return done.returncode, done.stdout + done.stderr

    assert lint(REPOSITORY)[0] == 0, lint(REPOSITORY)[1]
    (tmp_path / "compose").mkdir()
    (tmp_path / ".dclintrc").write_text((REPOSITORY / ".dclintrc").read_text())
    text, line = (REPOSITORY / COMPOSE).read_text(), "    shm_size: 256m\n"
    assert text.count(line) == 1
    (tmp_path / COMPOSE).write_text(text.replace(line, f'{line}    ports: ["5432:5432"]\n'))
    code, said = lint(tmp_path)
    assert (code, "no-unbound-port-interfaces" in said) == (1, True), said
