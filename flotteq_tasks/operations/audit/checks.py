"""Judgements on answers. Pure."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from flotteq_tasks.model.stack import Vhost
from flotteq_tasks.operations.audit.asking import Response

# A year: what preload lists and scanners ask for.
LEAST_HSTS = 31_536_000
FRAMES = ("DENY", "SAMEORIGIN")
REFERRERS = ("no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin")
IMMUTABLE = "immutable"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at from outside.

    Args:
        id: stays the same from version to version.
        domain: the public name; empty where it is about all of them.
        found: what was seen, in words.
        fix: what to do when it is not ``ok``.
    """

    id: str
    domain: str
    found: str
    ok: bool = True
    fix: str = ""


def headers(domain: str, place: str, answer: Response) -> Iterator[Check]:
    """Every security header is there once, on an answer of any status.

    Args:
        place: what was asked for, in a word: ``page``, ``missing``, ``too-large``.
    """
    name = f"headers-{place}"
    if not answer.status:
        yield Check(name, domain, f"no answer: {answer.problem}", ok=False, fix="inv status")
        return
    wrong = [message for message in _wrong_headers(answer) if message]
    fix = "inv nginx.reload renders the templates again; an own template in nginx/ may leave them out"
    yield Check(name, domain, "; ".join(wrong) or f"complete on a {answer.status}", ok=not wrong, fix=fix)


def _wrong_headers(answer: Response) -> Iterator[str]:
    if answer.twice:
        yield f"twice: {', '.join(answer.twice)}"
    age = re.search(r"max-age=(\d+)", answer.header("Strict-Transport-Security"))
    if not age or int(age[1]) < LEAST_HSTS:
        yield f"Strict-Transport-Security is {_shown(answer.header('Strict-Transport-Security'))}"
    if answer.header("X-Content-Type-Options") != "nosniff":
        yield f"X-Content-Type-Options is {_shown(answer.header('X-Content-Type-Options'))}"
    if answer.header("X-Frame-Options") not in FRAMES:
        yield f"X-Frame-Options is {_shown(answer.header('X-Frame-Options'))}"
    if answer.header("Referrer-Policy") not in REFERRERS:
        yield f"Referrer-Policy is {_shown(answer.header('Referrer-Policy'))}"
    for name in ("Permissions-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "X-Request-Id"):
        if not answer.header(name):
            yield f"{name} is missing"
    if re.search(r"[0-9]", answer.header("Server")):
        yield f"Server names a version: {answer.header('Server')}"
    if answer.header("X-Powered-By"):
        yield f"X-Powered-By is {answer.header('X-Powered-By')}"


def policy(domain: str, kind: Vhost, answer: Response) -> Check:
    """The Content-Security-Policy names scripts, and lets nobody frame the page."""
    value = answer.header("Content-Security-Policy")
    rules = {
        words[0].lower(): words[1:] for words in (part.split() for part in value.split(";")) if words
    }  # fmt: skip
    default = rules.get("default-src", [])
    scripts = rules.get("script-src", default)
    wrong = []
    if not value:
        wrong.append("missing")
    elif kind == "api" and default != ["'none'"]:
        wrong.append("an API needs default-src 'none'")
    elif not scripts:
        wrong.append("any script may run: neither script-src nor default-src")
    wrong += [
        f"scripts may be {one}"
        for one in ("'unsafe-inline'", "'unsafe-eval'", "*", "https:", "data:")
        if one in scripts
    ]
    wrong += [f"{one} is missing" for one in ("frame-ancestors", "base-uri") if value and one not in rules]
    if value and rules.get("object-src", default) != ["'none'"]:
        wrong.append("object-src is not 'none'")
    return Check("policy", domain, "; ".join(wrong) or "strict", ok=not wrong, fix="services.NAME.public.csp")


def redirect(domain: str, answer: Response, target: str) -> Check:
    """Plain http leads to the same place, in one step and with the same method."""
    found = f"{answer.status} to {answer.header('Location')}" if answer.status else answer.problem
    return Check("redirect", domain, found, ok=(answer.status, answer.header("Location")) == (308, target))


def page_cache(domain: str, answer: Response) -> Check:
    """A page is asked for again each time: it names the files of one release."""
    value = answer.header("Cache-Control")
    return Check("cache-page", domain, _shown(value), ok="no-cache" in value or "no-store" in value)


def asset_cache(domain: str, path: str, answer: Response) -> Check:
    """A file with a hash in its name is kept for ever."""
    value = answer.header("Cache-Control")
    good = answer.status == 200 and IMMUTABLE in value
    return Check("cache-asset", domain, f"{path}: {answer.status}, {_shown(value)}", ok=good)


def missing_asset(domain: str, answer: Response) -> Check:
    """A file that is missing now may be there after the next deploy: nobody may keep the answer."""
    value = answer.header("Cache-Control")
    kept = IMMUTABLE in value or "max-age=3" in value
    return Check("cache-missing", domain, f"{answer.status}, {_shown(value)}", ok=not kept and bool(answer.status))


def private(domain: str, path: str, answer: Response) -> Check:
    """A path that nobody outside may read gives nothing away."""
    text = answer.body[:4096].decode(errors="replace")
    told = re.search(r"^Active connections:|^# (?:HELP|TYPE) |^\[core\]|^[A-Z_]{3,}=\S", text, re.MULTILINE)
    hidden = answer.status in {0, 401, 403, 404} or not path.startswith("/.")
    return Check("private", domain, f"{path}: {answer.status}", ok=hidden and told is None)


def too_large(domain: str, kind: Vhost, answer: Response) -> Check:
    """A body above every limit is refused before it is sent, in an API's own form."""
    good = answer.status == 413 and (kind == "web" or _has_status(answer, 413))
    return Check("body-limit", domain, f"{answer.status or answer.problem}", ok=good, fix="limits.upload_mb")


def refused(domain: str, name: str, answers: list[Response], wait: str) -> Check:
    """Too many requests are answered with 429, when to come back, and an API's own form."""
    limited = [one for one in answers if one.status == 429]
    good = bool(limited) and all(_has_status(one, 429) and one.header("Retry-After") == wait for one in limited)
    found = f"{len(limited)} of {len(answers)} refused"
    if limited:
        found += f", Retry-After {_shown(limited[0].header('Retry-After'))}"
    return Check(name, domain, found, ok=good, fix="[limits]; inv nginx.reload")


def _has_status(answer: Response, status: int) -> bool:
    try:
        document = json.loads(answer.body)
    except ValueError:
        return False
    return isinstance(document, dict) and document.get("statusCode") == status


def _shown(value: str) -> str:
    return value or "missing"
