"""Version, secret, release, settings, facts and events: pure values."""

import copy
import json
import pickle
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from unit_support import fleet, instance

from flotteq_tasks.model import errors
from flotteq_tasks.model.errors import ExitCode, UsageError
from flotteq_tasks.model.events import Note, Output, Report, StepDone, StepFailed, StepStarted, Warned
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.release import Release, release_id
from flotteq_tasks.model.secret import Secret
from flotteq_tasks.model.stack import Registry, Service, ServiceBuild, Settings, variable
from flotteq_tasks.model.version import Version

CANARY = "c4n4ry"


@pytest.mark.parametrize("text", ["v1.2.0", "1", "_x", "A.b-c_d", "v" * 128, "latest-1", "Latest"])
def test_an_image_tag_is_a_version(text: str) -> None:
    assert str(Version.parse(text)) == text


def test_space_around_a_version_is_taken_away() -> None:
    assert Version.parse(" v1\n") == Version("v1")


@pytest.mark.parametrize(
    "text", ["", " ", ".v1", "-v1", "v 1", "v1:2", "v/1", "v@1", "é", 129 * "v", "v1\nv2", "$(id)"]
)
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Version.parse(text)
    sentence = f"--version: {text.strip()!r} is not a version: letters, digits, '.', '_' and '-', at most 128"
    assert (caught.value.message, caught.value.hint) == (sentence, "inv deploy --version v1.2.0")


def test_latest_names_no_release() -> None:
    with pytest.raises(UsageError, match=r"^--version: 'latest' names no release: it means another image tomorrow$"):
        Version.parse("latest")


@pytest.mark.parametrize(
    "shown",
    [
        str(Secret(CANARY)),
        repr(Secret(CANARY)),
        f"{Secret(CANARY)}",
        f"{Secret(CANARY)!r}",
        f"{Secret(CANARY)!s}",
        f"{Secret(CANARY):>40}",
        "%s" % Secret(CANARY),  # noqa: UP031
        "%r" % Secret(CANARY),  # noqa: UP031
        "{}".format(Secret(CANARY)),  # noqa: UP032
        repr([Secret(CANARY)]),
        repr({"a": Secret(CANARY)}),
        json.dumps({"a": Secret(CANARY)}, default=str, ensure_ascii=False),
        repr(ValueError(Secret(CANARY))),
        str(sorted({"a": Secret(CANARY)}.items())),
    ],
)
def test_a_secret_prints_dots_in_every_formatting(shown: str) -> None:
    assert CANARY not in shown and "•••" in shown


@pytest.mark.parametrize(
    "leak",
    [
        lambda secret: json.dumps(secret),  # noqa: PLW0108
        lambda secret: pickle.dumps(secret),  # noqa: PLW0108
        lambda secret: copy.deepcopy(secret),  # noqa: PLW0108
        lambda secret: copy.copy(secret),  # noqa: PLW0108
        lambda secret: "".join([secret]),
        lambda secret: "a" + secret,
        lambda secret: secret.encode(),
        lambda secret: secret[0],
        lambda secret: list(secret),  # noqa: PLW0108
        lambda secret: vars(secret),  # noqa: PLW0108
    ],
    ids=["json", "pickle", "deepcopy", "copy", "join", "plus", "encode", "index", "list", "vars"],
)
def test_a_secret_cannot_be_used_as_text_by_mistake(leak: object) -> None:
    assert callable(leak)
    with pytest.raises((TypeError, AttributeError)) as caught:
        leak(Secret(CANARY))
    assert CANARY not in str(caught.value)


def test_a_secret_gives_its_value_only_when_it_is_asked() -> None:
    assert Secret(CANARY).reveal() == CANARY


def test_secrets_compare_by_value() -> None:
    assert (Secret("a") == Secret("a"), Secret("a") == Secret("b"), Secret("a") == "a") == (True, False, False)


@pytest.mark.parametrize(("value", "truth"), [("", False), ("x", True)])
def test_an_empty_secret_is_false(value: str, truth: bool) -> None:
    assert bool(Secret(value)) is truth


RELEASE = Release(
    id="20261123T093000Z-v1",
    version="v1",
    images={"core": "r/core:v1@sha256:ab"},
    secrets={"db_password": "0123"},
    files={".env": "ff"},
    replicas={"core": 2},
    created="2026-11-23T09:30:00+00:00",
    by="ada on lap",
    seconds=12.5,
    migrations=("one", "two"),
)


def test_a_release_survives_its_manifest() -> None:
    assert Release.from_json(RELEASE.to_json()) == RELEASE


def test_a_manifest_can_be_read_as_bytes() -> None:
    assert Release.from_json(RELEASE.to_json().encode()) == RELEASE


def test_a_manifest_of_a_newer_tool_can_be_read() -> None:
    newer = {**json.loads(RELEASE.to_json()), "colour": "blue", "nested": {"a": 1}}
    assert Release.from_json(json.dumps(newer)) == RELEASE


def test_a_manifest_of_an_older_tool_can_be_read() -> None:
    assert Release.from_json('{"id": "i", "version": "v", "images": {}}') == Release("i", "v", {})


def test_a_manifest_is_sorted_and_ends_with_a_line_end() -> None:
    text = RELEASE.to_json()
    assert (list(json.loads(text)), text[-2:]) == (sorted(asdict(RELEASE)), "}\n")


@pytest.mark.parametrize(
    ("version", "now", "text"),
    [
        ("v1.2.0", datetime(2026, 11, 23, 9, 30, 5, 999999, UTC), "20261123T093005Z-v1.2.0"),
        ("v1", datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))), "20251231T233000Z-v1"),
        ("a/b c:é", datetime(2026, 1, 1, tzinfo=UTC), "20260101T000000Z-a_b_c__"),
    ],
)
def test_the_id_of_a_release_sorts_by_time_and_is_a_file_name(version: str, now: datetime, text: str) -> None:
    assert release_id(version, now) == text


def test_the_id_of_a_release_does_not_depend_on_this_machines_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert release_id("v1", datetime(2026, 11, 23, 9, 30, tzinfo=UTC)) == "20261123T093000Z-v1"
    finally:
        monkeypatch.undo()
        time.tzset()


def _with(service: Service, **registry: str) -> Settings:
    return fleet(services={"x": service}, registry=Registry(**{"server": "r.example:5000", **registry}))


BUILT = Service(kind="rolling", image="core", build=ServiceBuild(context="."))


@pytest.mark.parametrize(
    ("settings", "push", "reference"),
    [
        (_with(BUILT, namespace="team"), False, "r.example:5000/team/core:v1"),
        (_with(BUILT), False, "r.example:5000/core:v1"),
        (_with(BUILT, push_server="127.0.0.1:5555"), True, "127.0.0.1:5555/core:v1"),
        (_with(BUILT, push_server="127.0.0.1:5555"), False, "r.example:5000/core:v1"),
        (_with(BUILT, namespace="a/b"), True, "r.example:5000/a/b/core:v1"),
        (_with(Service(kind="edge", image="nginx:1.30")), False, "nginx:1.30"),
        (_with(Service(kind="edge", image="nginx:1.30"), push_server="p"), True, "nginx:1.30"),
    ],
)
def test_references(settings: Settings, push: bool, reference: str) -> None:
    assert settings.reference("x", "v1", push=push) == reference


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("nginx:1.30", "nginx"),
        ("nginx", "nginx"),
        ("r.example:5000/nginx", "r.example:5000/nginx"),
        ("r.example:5000/a/nginx:1", "r.example:5000/a/nginx"),
    ],
)
def test_the_repository_of_a_third_party_image_is_its_name_without_tag(image: str, repository: str) -> None:
    assert _with(Service(kind="edge", image=image)).repository("x") == repository


def test_a_subdomain_lies_below_the_domain_and_the_at_sign_is_the_domain() -> None:
    assert fleet().public == {"core": "api.fleet.example", "web-app": "fleet.example"}


def test_a_service_without_a_public_name_has_no_domain() -> None:
    with pytest.raises(KeyError, match="store"):
        fleet().domain("store")


def test_services_of_a_kind_come_in_the_order_of_the_file() -> None:
    assert fleet().of_kind("stateful") == ["store", "cache"]


@pytest.mark.parametrize(
    ("service", "suffix", "name"),
    [("frontend-client", "image", "FRONTEND_CLIENT_IMAGE"), ("db_password", "file", "DB_PASSWORD_FILE")],
)
def test_names_of_variables(service: str, suffix: str, name: str) -> None:
    assert variable(service, suffix) == name


@pytest.mark.parametrize(
    ("state", "health", "healthy"),
    [
        ("running", "healthy", True), ("running", "", True), ("running", "starting", False),
        ("running", "unhealthy", False), ("exited", "healthy", False), ("created", "", False),
    ],
)  # fmt: skip
def test_what_counts_as_healthy(state: str, health: str, healthy: bool) -> None:
    assert instance("core", state=state, health=health).healthy is healthy


def test_containers_of_a_service_do_not_count_one_off_ones() -> None:
    facts = Facts(instances=(instance("core"), instance("core", 2, oneoff=True), instance("front")))
    assert [one.id for one in facts.of("core")] == ["id-core-1"]


def test_a_host_is_installed_when_a_release_is_recorded() -> None:
    assert (Facts().installed, replace(Facts(), release=RELEASE).installed) == (False, True)


def test_a_step_reports_its_beginning_and_its_end_with_note_and_time() -> None:
    seen: list[object] = []
    times = iter([10.0, 12.5])
    with Report(seen.append, clock=lambda: next(times)).step("pull") as note:
        note.text = "5 images"
    assert seen == [StepStarted("pull"), StepDone("pull", 2.5, "5 images")]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ValueError("broken"), "broken"), (KeyboardInterrupt(), "KeyboardInterrupt"), (UsageError("no"), "no")],
)
def test_a_step_that_fails_says_why_and_lets_the_error_go_on(error: BaseException, reason: str) -> None:
    seen: list[object] = []
    times = iter([1.0, 2.0])
    with pytest.raises(type(error)), Report(seen.append, clock=lambda: next(times)).step("pull"):
        raise error
    assert seen == [StepStarted("pull"), StepFailed("pull", 1.0, reason)]


def test_talk_is_passed_on_as_events() -> None:
    seen: list[object] = []
    report = Report(seen.append)
    report.note("a")
    report.warn("b")
    report.output("c")
    assert seen == [Note("a"), Warned("b"), Output("c")]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("FlotteqError", 1), ("UsageError", 2), ("SettingsError", 2), ("SecretError", 2), ("CommandTimedOut", 1),
        ("HostUnreachable", 69), ("AccessDenied", 77), ("Locked", 75), ("PreflightFailed", 1), ("Unhealthy", 5),
        ("PutBack", 3), ("NotPutBack", 4),
    ],
)  # fmt: skip
def test_the_exit_code_of_every_error(kind: str, code: int) -> None:
    assert int(getattr(errors, kind)("x").exit_code) == code


def test_an_interruption_says_by_what_it_was() -> None:
    assert int(errors.Interrupted("x", code=ExitCode.TERMINATED).exit_code) == 143
