"""What graders that others wrote say of the edge as it stands on the host."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.graders import Graders, graders
from support.stack import API, DOMAINS, REPOSITORY, Stack

from flotteq_tasks.operations.sandbox.images import Images

pytestmark = pytest.mark.stack

# The sandbox's certificate authority has no list of revoked certificates.
SANDBOX = {"cert_revocation"}
MODULES = "/observatory/node_modules"
SCAN = f"{MODULES}/@mdn/mdn-http-observatory/src/scan.js"
COMPOSE = "compose/docker-compose.production.yml"
# What csp_evaluator calls a high, a syntactical and a medium finding; from 40 on it guesses.
GRAVE = 30
PAGES = {domain: "/api/health" if domain == API else "" for domain in DOMAINS.values()}


@pytest.fixture(scope="module")
def grade(stack: Stack, sandbox_images: Images, say: Callable[[str], None]) -> Graders:
    """The graders, beside the host."""
    return graders(stack.sandbox.instance, stack.sandbox.acme_root, sandbox_images, say)


@pytest.mark.timeout(900)
def test_testssl_gives_its_best_grade_to_every_name(grade: Graders) -> None:
    words = 'testssl --quiet --color 0 --add-ca /ca.pem --ip "$1" --jsonfile /tmp/found "$2" >&2; cat /tmp/found'

    def ask(domain: str) -> list[dict[str, str]]:
        done = grade.run("sh", "-c", words, "testssl", grade.address, domain, limit=850)
        found: list[dict[str, str]] = json.loads(done.stdout)
        return found

    with ThreadPoolExecutor(len(DOMAINS)) as pool:
        for domain, found in zip(DOMAINS.values(), pool.map(ask, DOMAINS.values()), strict=True):
            grades = [one["finding"] for one in found if one["id"] == "overall_grade"]
            severe = [
                f"{one['id']}: {one['finding']}"
                for one in found
                if one["severity"] in {"MEDIUM", "HIGH", "CRITICAL"} and one["id"] not in SANDBOX
            ]
            assert (domain, grades, severe) == (domain, ["A+"], [])


@pytest.mark.parametrize("profile", ["--mozilla_config=intermediate", "--custom_tls_config=/mozilla-6.0.json"])
def test_sslyze_finds_the_guideline_kept_on_every_name(grade: Graders, profile: str) -> None:
    names = [f"{domain}:443" for domain in DOMAINS.values()]
    done = grade.run("/opt/sslyze/bin/sslyze", "--certinfo_ca_file=/ca.pem", profile, *names, limit=120)
    assert done.returncode == 0, done.stdout
    assert [name for name in names if f"{name}: OK - Compliant" not in done.stdout] == []


@pytest.mark.parametrize("domain", PAGES)
def test_the_observatory_gives_its_best_grade(grade: Graders, domain: str) -> None:
    done = grade.run("node", SCAN, f"{domain}{PAGES[domain]}", limit=120)
    found = json.loads(done.stdout)["scan"]
    assert (found["grade"], found["score"]) == ("A+", 130 if domain == API else 120), done.stdout


def test_csp_evaluator_finds_no_way_around_any_policy(grade: Graders, stack: Stack) -> None:
    def found(*policies: str) -> list[str]:
        done = grade.run("node", "/observatory/csp.mjs", *policies, limit=60)
        return [one["description"] for one in json.loads(done.stdout) if one["severity"] <= GRAVE]

    policies = {stack.get(domain, PAGES[domain])[1]["content-security-policy"] for domain in PAGES}
    assert len(policies) > 1
    assert found(*policies) == []
    assert found("script-src 'self' 'unsafe-inline'"), "it can find something"


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
