"""What graders that others wrote say of the edge: testssl.sh, sslyze, the MDN Observatory, csp_evaluator.

They run in an image of their own, on this machine, and ask the public names as anybody would.
"""

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flotteq_tasks.commands import graders as commands
from flotteq_tasks.host.base import Done
from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.model.errors import CommandFailed, PreflightFailed, UsageError
from flotteq_tasks.model.events import Report
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.audit.asking import Visitor
from flotteq_tasks.operations.audit.checks import Check
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.images import ensure_graders
from flotteq_tasks.operations.sandbox.report import Progress

REPOSITORY = Path(__file__).resolve().parents[3]
GRADE = "A+"
# From 100 the Observatory adds for what few have. A policy that loads nothing is worth ten more than one of a page.
SCORES = {"api": 130, "web": 120}
SEVERE = frozenset({"MEDIUM", "HIGH", "CRITICAL", "FATAL"})
# A private authority has no list of revoked certificates that others could ask for.
PRIVATE = frozenset({"cert_revocation"})
# What csp_evaluator calls a high, a syntactical and a medium finding; from 40 on it guesses.
GRAVE = 30
# Seconds. testssl.sh takes a minute and a half for five names side by side on two cores.
TESTSSL_LIMIT, LIMIT = 840, 120


def audit_by_graders(settings: Settings, report: Report) -> list[Check]:
    """Build the graders' image where it is missing, and let all of them look.

    Raises:
        UsageError: these tasks are installed without the repository, from which the image is built.
        PreflightFailed: no Docker Engine answers on this machine.
        CommandFailed: a grader could not do its work; its last words are in the details.
    """
    if not (REPOSITORY / "sandbox" / "graders" / "Dockerfile").is_file():
        raise UsageError(
            "the graders' image is built from the repository of flotteq-tasks, which is not here",
            hint="clone it and install it from there: pip install --editable CLONE",
        )
    docker = Docker(LocalHost(cwd=REPOSITORY))
    if not docker.run("version", check=False).ok:
        raise PreflightFailed(
            "no Docker Engine answers on this machine: the graders run in a container", hint="start it"
        )
    with report.step("image of the graders") as note:
        note.text = ensure_graders(docker, REPOSITORY, REPOSITORY / ".sandbox", Progress(report.note))
    return Graders(settings, note.text, report).all()


@dataclass(frozen=True)
class Graders:
    """Graders that look at one environment.

    Args:
        image: reference on this machine's engine.
    """

    settings: Settings
    image: str
    report: Report

    def all(self) -> list[Check]:
        """Ask one grader after the other; testssl.sh for all names at once. Errors as ``audit_by_graders``."""
        found: list[Check] = []
        for name, ask in (("testssl.sh", self._testssl), ("sslyze", self._sslyze), ("Observatory", self._observatory),
                          ("csp_evaluator", self._policies)):  # fmt: skip
            with self.report.step(name) as note:
                part = list(ask())
                found += part
                note.text = f"{len(part)} checks, {sum(not one.ok for one in part)} findings"
        return found

    def _testssl(self) -> Iterator[Check]:
        def ask(domain: str) -> list[Check]:
            words = commands.testssl(
                domain, self.settings.edge.https_port, address=self.settings.edge.address, roots=self._trusted
            )
            return list(testssl(domain, self._json(words, TESTSSL_LIMIT), private=bool(self._trusted)))

        names = list(self.settings.public.values())
        with ThreadPoolExecutor(len(names)) as pool:
            for part in pool.map(ask, names):
                yield from part

    def _sslyze(self) -> Iterator[Check]:
        names = {domain: f"{domain}:{self.settings.edge.https_port}" for domain in self.settings.public.values()}
        for guideline in commands.GUIDELINES:
            done = self._run(commands.sslyze(guideline, list(names.values()), roots=self._trusted), LIMIT)
            for domain, name in names.items():
                yield sslyze(guideline, domain, name, done)

    def _observatory(self) -> Iterator[Check]:
        for service, domain in self.settings.public.items():
            spec = self.settings.services[service]
            if (self.settings.edge.http_port, self.settings.edge.https_port) != (80, 443):
                yield Check("observatory", domain, "not asked: it knows the ports 80 and 443 only")
                continue
            # An API has nothing at "/"; of a page only the address counts.
            page = domain + (spec.health.path if spec.vhost == "api" else "")
            yield observatory(domain, SCORES[spec.vhost], self._json(commands.observatory(page), LIMIT))

    def _policies(self) -> Iterator[Check]:
        visitor = Visitor(self.settings)
        for domain in self.settings.public.values():
            policy = visitor.ask(domain, "/").header("Content-Security-Policy")
            yield policies(domain, self._json(commands.csp_evaluator(policy), LIMIT) if policy else None)

    @property
    def _trusted(self) -> str:
        return commands.ROOTS if self._roots else ""

    @property
    def _roots(self) -> str:
        return str(self.settings.root / self.settings.acme.root_file) if self.settings.acme.root_file else ""

    def _run(self, words: Sequence[str], limit: int) -> Done:
        names = dict.fromkeys(self.settings.public.values(), self.settings.edge.address)
        command = commands.grader(
            self.image, words, limit=limit, addresses=names if self.settings.edge.address else None, roots=self._roots
        )
        return LocalHost().run(command, timeout=limit + 30, check=False)

    def _json(self, words: Sequence[str], limit: int) -> Any:
        done = self._run(words, limit)
        try:
            return json.loads(done.out)
        except ValueError as error:
            raise failed(done) from error


def failed(done: Done) -> CommandFailed:
    """A grader that said nothing that could be read. Pure."""
    lines = [line for line in (done.err.strip() or done.out.strip()).splitlines() if line.strip()]
    return CommandFailed(
        f"a grader did not end well (exit code {done.code})" + (f": {lines[-1].strip()}" if lines else ""),
        code=done.code,
        hint="does this machine reach the names? inv audit.edge",
        details="\n".join(lines[-15:]),
    )


def testssl(domain: str, found: Sequence[dict[str, str]], *, private: bool) -> Iterator[Check]:
    """The grade, and each severe finding. Pure.

    Args:
        found: testssl.sh's findings.
        private: the authority is one's own.
    """
    grade = next((one["finding"] for one in found if one["id"] == "overall_grade"), "none")
    yield Check("testssl", domain, f"grade {grade}", ok=grade == GRADE, fix="what lowers it stands below testssl-…")
    for one in found:
        if one["severity"] in SEVERE and not (private and one["id"] in PRIVATE):
            yield Check(f"testssl-{one['id']}", domain, f"{one['severity'].lower()}: {one['finding']}", ok=False)


def sslyze(guideline: str, domain: str, name: str, done: Done) -> Check:
    """Whether a name keeps Mozilla's guideline for intermediate clients. Pure.

    Raises:
        CommandFailed: sslyze says nothing of this name.
    """
    # The verdict of a name, and its reasons in the lines that begin with a star.
    said = re.search(rf"^\s*{re.escape(name)}: (OK|FAILED)[^\n]*((?:\n\s*\*[^\n]*)*)", done.out, re.MULTILINE)
    if said is None:
        raise failed(done)
    reasons = "; ".join(line.strip(" *") for line in said[2].splitlines() if line.strip())
    return Check(
        guideline, domain, reasons or ("compliant" if said[1] == "OK" else "not compliant"), ok=said[1] == "OK"
    )


def observatory(domain: str, wanted: int, found: dict[str, Any]) -> Check:
    """The Observatory's grade and score, and what it takes points for. Pure."""
    grade, score = str(found["scan"]["grade"]), int(found["scan"]["score"] or 0)
    lost = [name for name, one in found.get("tests", {}).items() if not one.get("pass", True)]
    text = f"{grade}, {score} points" + (f"; not passed: {', '.join(lost)}" if lost else "")
    return Check(
        "observatory", domain, text, ok=grade == GRADE and score >= wanted, fix=f"{GRADE} with {wanted} points"
    )


def policies(domain: str, found: Sequence[dict[str, Any]] | None) -> Check:
    """Ways around a Content-Security-Policy. Pure.

    Args:
        found: None where there is no policy.
    """
    if found is None:
        return Check("csp-evaluator", domain, "there is no policy", ok=False, fix="services.NAME.public.csp")
    grave = [f"{one['directive']}: {one['description']}" for one in found if one["severity"] <= GRAVE]
    return Check("csp-evaluator", domain, "; ".join(grave) or "no way around it", ok=not grave,
                 fix="services.NAME.public.csp")  # fmt: skip
