"""A deploy on a host in memory: what it does in which order, and that a fault anywhere leaves a site that serves."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deploy_world import HOME, KEEP_EDGE, UPSTREAMS, World, image
from unit_support import instance

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.base import Done, File
from flotteq_tasks.model.errors import (
    CommandTimedOut,
    FlotteqError,
    HostUnreachable,
    NotPutBack,
    PreflightFailed,
    PutBack,
    Unhealthy,
    UsageError,
)
from flotteq_tasks.model.events import StepFailed, StepStarted
from flotteq_tasks.model.facts import Instance
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.model.version import Version
from flotteq_tasks.operations import edge_check, edge_files, releases, tls, verification
from flotteq_tasks.operations.control import scale, start
from flotteq_tasks.operations.deploy import Deployed, DeployRequest, deploy, rollback, run
from flotteq_tasks.operations.deploy.rehearsal import rehearse
from flotteq_tasks.operations.interrupted import abort, resume
from flotteq_tasks.operations.lock import Keeper
from flotteq_tasks.operations.migrating import migrate
from flotteq_tasks.operations.plan import make_plan
from flotteq_tasks.operations.probing import Tally
from flotteq_tasks.operations.retention import prune
from flotteq_tasks.rendering.nginx import render_edge

OLD = {name: {image(name, "v1")} for name in ("core", "web-app")}
NEW = {name: {image(name, "v2")} for name in ("core", "web-app")}
STEPS = [
    "preflight", "images", "plan", "files", "services", "backup", "migrations", "containers", "checks", "switch",
    "verify", "record",
]  # fmt: skip


_rendered: dict[str, dict[str, bytes]] = {}


def _render_once(settings: Settings, upstreams: Mapping[str, Sequence[str]], **rest: Any) -> dict[str, bytes]:
    """The real files of the edge; the same are not rendered again in every one of a hundred deploys."""
    key = f"{dict(upstreams)} {sorted(rest.items())}"
    if key not in _rendered:
        _rendered[key] = render_edge(settings, upstreams, **rest)
    return _rendered[key]


def _look(world: World, patch: pytest.MonkeyPatch) -> None:
    """Requests from outside are answered by the world; none leaves this machine."""
    patch.setattr(verification, "ask", world.answer)
    patch.setattr(run, "probing", lambda *_, **__: nullcontext(Tally()))
    patch.setattr(edge_files, "render_edge", _render_once)
    patch.setattr(edge_check, "render_edge", _render_once)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    _look(made, monkeypatch)
    return made


def _deploy(world: World, version: str = "v2") -> Deployed:
    return deploy(world.site, DeployRequest(Version(version)), {"GITHUB_ACTOR": "ada"})


def test_a_deploy_brings_the_new_version_live(world: World) -> None:
    done = _deploy(world)
    assert (done.version, done.changed, done.already) == ("v2", ("core", "web-app"), False)
    assert (world.served, world.recorded, world.locked) == (NEW, "v2", False)
    assert {name for name in world.running if "core" in name or "web" in name} == {
        "fleet-core-3", "fleet-core-4", "fleet-web-app-3",
    }  # fmt: skip


@pytest.mark.parametrize("act", [deploy, rehearse, make_plan])
@pytest.mark.parametrize("name", ["nope", "store"])
def test_a_service_that_cannot_be_chosen_is_refused_before_the_host_is_asked(
    world: World, act: Callable[..., object], name: str
) -> None:
    with pytest.raises(UsageError):
        act(world.site, DeployRequest(Version("v2"), only=(name,)), {})
    assert (world.host.transcript, world.journal) == ([], [])


def test_the_steps_come_in_their_order(world: World) -> None:
    _deploy(world)
    assert [name for name in world.events.texts(StepStarted) if name in STEPS] == STEPS


def test_the_journal_has_every_step(world: World) -> None:
    _deploy(world)
    lines = [json.loads(line) for line in world.journal]
    steps = [line["step"] for line in lines if line["event"] == "end" and "step" in line]
    assert steps == STEPS


def test_old_containers_serve_until_the_new_ones_are_healthy_and_asked(world: World) -> None:
    _deploy(world)
    entries = world.host.transcript
    reload = next(index for index, entry in enumerate(entries) if "kill -HUP" in entry)
    assert [entries.index(f"engine {name}") < reload for name in ("start_beside", "ask")] == [True, True]
    assert next(at for at, entry in enumerate(entries) if "engine retire" in entry) > reload


def _earlier(world: World, monkeypatch: pytest.MonkeyPatch, images: Mapping[str, str]) -> None:
    before = replace(world.live, id="r0", version="v0", images=images)
    known = [releases.Listed(replace(world.live, previous="r0"), live=True), releases.Listed(before, live=False)]
    monkeypatch.setattr(releases, "all_releases", lambda _: known)


def test_a_release_with_a_receiver_runs_again_where_none_is_wanted_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: image(name, "v0") for name in world.settings.services}
    _earlier(world, monkeypatch, {**before, "wal-receiver": image("core", "v0")})
    assert rollback(world.site, "", {}).version == "v0"
    assert "wal-receiver" not in world.images


@pytest.mark.parametrize(
    ("more", "fewer", "said"),
    [({"old-app": "old:v0"}, "", "it had old-app"), ({}, "web-app", "it had no web-app")],
    ids=["one that is gone", "one that is new"],
)
def test_a_release_that_had_other_services_is_refused_in_words(
    world: World, monkeypatch: pytest.MonkeyPatch, more: dict[str, str], fewer: str, said: str
) -> None:
    before = {name: image(name, "v0") for name in world.settings.services if name != fewer}
    _earlier(world, monkeypatch, {**before, **more})
    with pytest.raises(PreflightFailed, match=said):
        rollback(world.site, "", {})
    assert (world.served, world.recorded) == (OLD, "v1")


def test_start_does_not_wait_for_what_ran_and_was_once_started_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.instances[0] = replace(world.instances[0], restarts=1)
    world.instances[1] = replace(world.instances[1], state="exited")
    waited: list[str] = []
    monkeypatch.setattr(world.engine, "wait_healthy", lambda those, **_: waited.extend(one.name for one in those))
    start(world.site, [], {})
    assert waited == ["fleet-core-2"]


def test_what_served_for_a_service_that_is_gone_is_removed_with_the_old_containers(world: World) -> None:
    world.instances.append(instance("old-app", image="old:v1"))
    file = world.host.file(UPSTREAMS)
    more = b"upstream old-app {\n    server fleet-old-app-1:80;\n}\n"
    world.host.files[UPSTREAMS] = replace(file, content=file.content + more)
    _deploy(world)
    assert "fleet-old-app-1" not in world.running


def test_migrations_outside_of_a_deploy_are_those_of_the_live_release(world: World) -> None:
    world.files_release = "r2"  # a client died when its files were there
    migrate(world.site, {}, only_status=False)
    assert world.files_release == "r1"


def test_the_edge_is_reloaded_whatever_it_is_called(world: World) -> None:
    _deploy(world)
    scale(world.site, "core", 1, {})
    tls.reload(world.site, {})
    reloads = [entry for entry in world.host.transcript if "kill -HUP" in entry]
    assert len(reloads) == 3
    assert [entry for entry in world.host.transcript if " fleet nginx " in entry] == []
    assert all(" fleet front " in entry for entry in reloads)


def test_files_that_nginx_refuses_take_no_old_ones_place(world: World) -> None:
    before = {path: file for path, file in world.host.files.items() if path.startswith(f"{HOME}/nginx/")}
    refused = Done(Command("docker"), 1, err='nginx: [emerg] unknown directive "more_headers" in /etc/nginx/x.conf:3\n')
    world.host.script = {re.compile("--volumes-from"): refused, **world.host.script}
    with pytest.raises(PreflightFailed, match="unknown directive"):
        _deploy(world)
    assert {path: file for path, file in world.host.files.items() if path.startswith(f"{HOME}/nginx/")} == before
    assert "engine activate" not in world.host.transcript
    assert (world.served, world.recorded, world.locked) == (OLD, "v1", False)


def test_files_that_the_host_has_already_are_not_tested_again(world: World) -> None:
    _deploy(world)
    count = len(world.host.transcript)
    _deploy(world)
    assert not [entry for entry in world.host.transcript[count:] if "--volumes-from" in entry]


def test_databases_and_the_edge_stay_as_they_are(world: World) -> None:
    before = {one.id for one in world.instances if one.service not in NEW}
    _deploy(world)
    assert {one.id for one in world.instances if one.service not in NEW} == before


def test_the_same_version_again_changes_nothing(world: World) -> None:
    _deploy(world)
    before, entries = (list(world.instances), dict(world.serving)), len(world.host.transcript)
    done = _deploy(world)
    assert (done.already, done.changed) == (True, ())
    assert (world.instances, world.serving) == before
    new = world.host.transcript[entries:]
    changing = ("engine activate", "engine retire", "kill -HUP")
    assert not [entry for entry in new if any(one in entry for one in changing)]


def test_the_same_version_with_another_file_makes_the_file_live(world: World) -> None:
    _deploy(world)
    before, entries = list(world.instances), len(world.host.transcript)
    world.staged = {".env": "hash-2"}
    done = _deploy(world)
    assert (done.already, done.changed, world.instances) == (False, (), before)
    assert "engine activate" in world.host.transcript[entries:]


def _entries(root: Path) -> list[str]:
    """The transcript of a deploy in which nothing fails."""
    patch = pytest.MonkeyPatch()
    try:
        world = World(root)
        _look(world, patch)
        _deploy(world)
        return world.host.transcript
    finally:
        patch.undo()


def _settled(world: World, error: BaseException | None) -> str:
    """What is not as it must be after a deploy that failed or not; empty when all is well."""
    wanted = NEW if error is None or world.recorded == "v2" else OLD
    problems = []
    if world.served != wanted:
        problems.append(f"serves {world.served}, recorded {world.recorded}")
    if world.locked:
        problems.append("still locked")
    return "; ".join(problems)


def test_a_fault_at_any_entry_before_the_record_leaves_the_old_version_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = _entries(tmp_path)
    record = next(index for index, entry in enumerate(entries, start=1) if entry.endswith("state/current.json"))
    assert record > 15
    wrong = []
    for index in range(2, record + 1):
        world = World(tmp_path)
        _look(world, monkeypatch)
        world.host.fail_at = index
        error: BaseException | None = None
        try:
            _deploy(world)
        except FlotteqError as raised:
            error = raised
        problem = _settled(world, error)
        if problem or isinstance(error, NotPutBack):
            wrong.append(f"entry {index} ({entries[index - 1][:60]!r}): {problem} {type(error).__name__}: {error}")
    assert wrong == []


def test_a_fault_at_any_entry_after_the_record_leaves_the_new_version_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = _entries(tmp_path)
    record = next(index for index, entry in enumerate(entries, start=1) if entry.endswith("state/current.json"))
    wrong = []
    for index in range(record + 1, len(entries) + 1):
        world = World(tmp_path)
        _look(world, monkeypatch)
        world.host.fail_at = index
        error: BaseException | None = None
        try:
            _deploy(world)
        except FlotteqError as raised:
            error = raised
        problem = _settled(world, error)
        if problem:
            wrong.append(f"entry {index} ({entries[index - 1][:60]!r}): {problem} {type(error).__name__}: {error}")
    assert wrong == []


def _lose(world: World) -> None:
    """Deploy over a link that is lost on the way; after the record the release is live and the deploy has succeeded."""
    try:
        _deploy(world)
    except HostUnreachable:
        return
    assert world.recorded == "v2"


def test_a_connection_lost_at_any_entry_never_takes_the_site_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = []
    for index in range(2, len(_entries(tmp_path)) + 1):
        world = World(tmp_path)
        _look(world, monkeypatch)
        world.host.unreachable_from = index
        _lose(world)
        if world.served not in (OLD, NEW):
            wrong.append(f"entry {index}: {world.served}")
    assert wrong == []


def test_after_a_connection_lost_while_services_turned_one_by_one_abort_brings_all_of_them_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, who = DeployRequest(Version("v2"), surge="one"), {"GITHUB_ACTOR": "ada"}
    world = World(tmp_path)
    _look(world, monkeypatch)
    deploy(world.site, request, who)
    wrong = []
    for index in range(2, len(world.host.transcript) + 1):
        world = World(tmp_path)
        _look(world, monkeypatch)
        world.host.unreachable_from = index
        with suppress(HostUnreachable):
            deploy(world.site, request, who)
        world.host.unreachable_from, world.locked = None, False
        said = abort(world.site, who)
        if world.served != (NEW if world.recorded == "v2" else OLD) or not said.startswith(world.recorded):
            wrong.append(f"entry {index}: {said}: {world.served}")
    assert wrong == []


def test_old_containers_that_were_stopped_and_not_removed_are_not_sent_requests_again(world: World) -> None:
    retire = world.engine.retire

    def stop(instances: Iterable[Instance]) -> None:
        gone = {one.id for one in instances}
        world.instances = [replace(one, state="exited") if one.id in gone else one for one in world.instances]
        world.engine.retire = retire  # type: ignore[method-assign]
        raise CommandTimedOut("stopped, and nothing more")

    world.engine.retire = stop  # type: ignore[method-assign]
    with pytest.raises(PutBack):
        deploy(world.site, DeployRequest(Version("v2"), surge="one"), {"GITHUB_ACTOR": "ada"})
    assert (world.served, {one.state for one in world.instances}) == (OLD, {"running"})


def test_a_deploy_that_was_cut_off_goes_on_although_a_timer_has_run_since(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as cut:
        cut.setattr(world.engine, "start_beside", _raiser(HostUnreachable("the client dies")))
        cut.setattr(world.engine, "retire", _raiser(HostUnreachable("the client is dead")))
        cut.setattr(Keeper, "last_words", lambda *_, **__: None)
        with pytest.raises(HostUnreachable):
            _deploy(world)
    timer = {"at": "2026-11-24T02:17:00+00:00", "what": "schedule backup", "where": "host", "who": "timer"}
    lines = [*world.journal, json.dumps({**timer, "event": "start"}),
             json.dumps({**timer, "event": "end", "result": "done"})]  # fmt: skip
    world.host.script = {re.compile("tail -n 4000"): "\n".join(lines), **world.host.script}
    assert (resume(world.site, {"GITHUB_ACTOR": "ada"}).version, world.served) == ("v2", NEW)


def test_after_a_connection_lost_at_any_entry_the_same_command_repairs_and_deploys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = []
    for index in range(2, len(_entries(tmp_path)) + 1):
        world = World(tmp_path)
        _look(world, monkeypatch)
        world.host.unreachable_from = index
        _lose(world)
        # The host ends the lock of a client that is gone.
        world.host.unreachable_from, world.locked = None, False
        _deploy(world)
        strays = {name for name in world.running if name.startswith(("fleet-core", "fleet-web"))}
        if world.served != NEW or len(strays) != 3:
            wrong.append(f"entry {index}: {world.served} {strays}")
    assert wrong == []


@pytest.mark.parametrize("next_", [prune, tls.reload], ids=["prune", "nginx.reload"])
def test_a_switch_that_did_not_end_is_taken_back_before_its_former_files_are_gone(
    world: World, monkeypatch: pytest.MonkeyPatch, next_: Callable[..., object]
) -> None:
    with monkeypatch.context() as cut:
        cut.setattr(verification, "ask", _raiser(HostUnreachable("the client dies")))
        cut.setattr(edge_files, "switch_back", _raiser(HostUnreachable("the client is dead")))
        with pytest.raises(HostUnreachable):
            _deploy(world)
    assert world.served == NEW
    next_(world.site, {"GITHUB_ACTOR": "ada"})
    assert (world.served, _settled(world, FlotteqError("x"))) == (OLD, "")


@pytest.mark.parametrize(
    ("step", "spoil", "kind"),
    [
        ("checks", lambda world: setattr(world.engine, "ask", lambda addresses, _: dict.fromkeys(addresses, (500, ""))),
         PutBack),
        ("containers",
         lambda world: setattr(world.engine, "start_beside", _raiser(Unhealthy("core: unhealthy", hint="look"))),
         PutBack),
        ("images", lambda world: setattr(world.engine, "fetch", _raiser(FlotteqError("no"))), FlotteqError),
    ],
)  # fmt: skip
def test_a_step_that_fails_is_named_and_the_old_version_serves(
    world: World, step: str, spoil: Callable[[World], None], kind: type[FlotteqError]
) -> None:
    spoil(world)
    with pytest.raises(kind):
        _deploy(world)
    assert world.events.texts(StepFailed) == [step]
    assert _settled(world, FlotteqError("x")) == ""
    assert not [one for one in world.instances if one.image == image("core", "v2")]


def _raiser(error: Exception) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise error

    return call


def test_a_new_version_that_does_not_answer_from_outside_is_switched_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(settings: object, service: str, **_: object) -> verification.Answer:
        bad = world.served[service] == NEW[service]
        return verification.Answer(service, service, 200, 0.0, problem="wrong" if bad else "")

    monkeypatch.setattr(verification, "ask", answer)
    with pytest.raises(PutBack, match="'verify' failed and everything was put back"):
        _deploy(world)
    assert (_settled(world, FlotteqError("x")), world.files_release) == ("", "r1")


def test_a_switch_that_never_began_is_not_taken_back_to_an_older_copy(world: World) -> None:
    stale = "# release r0\nupstream core {\n    server gone-1:80;\n}\nupstream web-app {\n    server gone-2:80;\n}\n"
    world.host.write(f"{HOME}/state/edge.before/upstreams/active.conf", File(stale.encode()))
    world.host.script = {key: 1 if key == KEEP_EDGE else value for key, value in world.host.script.items()}
    with pytest.raises(FlotteqError):
        _deploy(world)
    assert world.served == OLD


def test_a_stopped_container_that_scale_starts_again_does_not_stay_beside_those_that_serve(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, stopped = world.engine.start_beside, world.instances[1]
    world.instances[1], world.images = replace(stopped, state="exited"), dict(world.live.images)

    def up(*words: Any, **more: Any) -> list[Instance]:
        new = start(*words, **more)
        world.instances = [replace(one, state="running") for one in world.instances]
        return new

    monkeypatch.setattr(world.engine, "start_beside", up)
    scale(world.site, "core", 3, {"GITHUB_ACTOR": "ada"})
    assert {one.name for one in world.instances if one.service == "core"} == set(world.serving["core"])
    assert len(world.serving["core"]) == 3


def test_an_error_that_nobody_foresaw_is_undone_too(world: World) -> None:
    world.engine.start_beside = _raiser(ValueError("a bug"))  # type: ignore[method-assign]
    with pytest.raises(Exception):  # noqa: B017
        _deploy(world)
    assert not [one for one in world.instances if one.image == image("core", "v2")]


def test_a_rehearsal_names_what_every_step_would_run_and_runs_nothing_of_it(world: World) -> None:
    before = dict(world.host.files)
    found = rehearse(world.site, DeployRequest(Version("v2")), {"GITHUB_ACTOR": "ada"})
    assert list(dict.fromkeys(step for step, _ in found)) == [
        "files", "backup", "migrations", "containers", "checks", "switch", "record", "clean up",
    ]  # fmt: skip
    assert any("--scale=core=4 --scale=web-app=3 core web-app" in text for _, text in found)
    assert "engine retire id-core-1 id-core-2 id-web-app-1" in found[-2][1]
    tried = {path for path in world.host.files if path.startswith(f"{HOME}/state/edge.plan/")}
    assert (world.served, world.recorded) == (OLD, "v1")
    assert set(world.host.files) - tried == set(before), "what nginx judges is removed by the command that asks it"


def test_a_rehearsal_of_one_service_at_a_time_switches_after_each(world: World) -> None:
    found = rehearse(world.site, DeployRequest(Version("v2"), surge="one"), {})
    steps = [step for step, _ in found if step in ("containers", "switch")]
    assert list(dict.fromkeys(steps)) == ["containers", "switch"]
    assert sum(text.startswith("write the edge") for _, text in found) == 2


@pytest.mark.parametrize("only", [("core", "web-app"), ("core,web-app",)])
def test_chosen_services_may_be_named_one_by_one_or_in_a_list(world: World, only: tuple[str, ...]) -> None:
    done = deploy(world.site, DeployRequest(Version("v2"), only=only), {})
    assert (done.changed, world.served) == (("core", "web-app"), NEW)


def test_files_of_the_edge_that_nginx_refuses_make_way_for_those_from_before(world: World) -> None:
    reload = re.compile("kill -HUP")
    world.host.script = {**world.host.script, reload: [Done(Command("x"), 10, err="unknown directive"), ""]}
    before = {path: file for path, file in world.host.files.items() if "/nginx/upstreams/" in path}
    with pytest.raises(FlotteqError, match="nginx refuses the configuration"):
        edge_files.refresh(world.site, world.engine.facts())
    assert {path: world.host.files[path] for path in before} == before
    assert not any("edge.before" in path for path in world.host.files)
