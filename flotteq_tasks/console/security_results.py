"""How an audit of the security looks: a table, one JSON document, or a file in SARIF 2.1.0 for scanners' dashboards."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flotteq_tasks.console.console import Console
from flotteq_tasks.model.errors import UsageError
from flotteq_tasks.model.security import Risk

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def show_risks(console: Console, found: Sequence[Risk]) -> None:
    """What is open and what is accepted, then what is in order; below, what to do."""
    wrong = [one for one in found if one.open]
    if console.json:
        console.document({"ok": not wrong, "checks": [{**asdict(one), "open": one.open} for one in found]})
        return
    order = sorted(found, key=lambda one: (not one.open, one.ok))
    console.table(("", "CHECK", "SHOULD BE", "FOUND"), [(_mark(one), one.id, one.title, one.found) for one in order])
    kept = [one for one in found if one.accepted]
    console.line(f"\n{len(found)} checks, {len(wrong)} open, {len(kept)} accepted")
    for one in kept:
        console.line(f"  {one.id} is accepted: {one.accepted}")
    for line in dict.fromkeys(f"{one.id}: {one.fix}" for one in wrong if one.fix):
        console.line(f"  {line}")


def write_sarif(path: str, found: Sequence[Risk], file: str) -> None:
    """Write the document of ``sarif``.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        Path(path).write_text(json.dumps(sarif(found, file), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"--sarif {path}: {error.strerror or error}", hint="name a file in a directory that exists"
        ) from error


def _mark(one: Risk) -> str:
    return "ok" if one.ok else "--" if one.accepted else "!!"


def sarif(found: Sequence[Risk], file: str) -> dict[str, Any]:
    """The document: a rule for each check, a result for each place of what is not in order.

    Args:
        file: the Compose file: dashboards show no result without one.
    """
    rules = [
        {
            "id": one.id,
            "shortDescription": {"text": one.title},
            "help": {"text": one.fix or one.title},
            "defaultConfiguration": {"level": one.level},
        }
        for one in found
    ]
    driver = {"name": "flotteq-tasks", "version": version("flotteq-tasks"), "rules": rules}
    results = [_result(one, number, file) for number, one in enumerate(found) if not one.ok]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(one: Risk, rule: int, file: str) -> dict[str, Any]:
    place: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": file}, "region": {"startLine": 1}}}
    if one.places:
        place["logicalLocations"] = [{"fullyQualifiedName": name, "kind": "resource"} for name in one.places]
    result: dict[str, Any] = {
        "ruleId": one.id,
        "ruleIndex": rule,
        "level": one.level,
        "message": {"text": f"{one.title}: {one.found}"},
        "locations": [place],
        # What it is about, not in which words: the same finding stays the same one.
        "partialFingerprints": {"check/v1": one.id},
    }
    if one.accepted:
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": one.accepted}]
    return result
