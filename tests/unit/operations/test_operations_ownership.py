"""Who is handed what, and which networks a container that stays joins and leaves."""

from typing import Any

import pytest
from unit_support import fleet, instance

from flotteq_tasks.commands import ownership as scripts
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations import ownership
from flotteq_tasks.operations.deploy import networks

SETTINGS = fleet()


def _volume(source: str, **more: Any) -> dict[str, Any]:
    return {"type": "volume", "source": source, "target": "/x", **more}


def _bind(source: str, **more: Any) -> dict[str, Any]:
    return {"type": "bind", "source": source, "target": "/x", **more}


CONFIG = {
    "services": {
        "core": {
            "user": "1000:1001",
            "volumes": [_volume("uploads"), _volume("shared", read_only=True), _bind("/srv/fleet/x", read_only=True)],
            "networks": {"web": None, "data": None},
        },
        "store": {"user": "999", "volumes": [_volume("data")], "networks": {"data": None}},
        "cache": {"user": "redis", "volumes": [_volume("cached")], "networks": {"data": None}},
        "front": {"user": "101:101", "volumes": [_bind("/srv/fleet/cache"), _bind("/var/log/x")],
                  "networks": {"edge": None, "web": None}},
        "certbot": {"volumes": [_bind("/srv/fleet/certbot/conf")], "networks": {"edge": None}},
    },
    "volumes": {"uploads": {"name": "fleet_uploads_data"}, "data": {"name": "fleet_store_data"}},
    "networks": {"web": {"name": "fleet_web"}, "data": {"name": "fleet_data"}, "edge": {"name": "fleet_edge"}},
}  # fmt: skip


def test_what_a_numbered_user_writes_to_is_handed_over_but_no_database() -> None:
    """A running server would lose its files; a name means something in its image only; what is read stays."""
    assert ownership.hand_over(SETTINGS, CONFIG) == scripts.hand_over(
        [("1000:1001", "fleet_uploads_data"), ("101:101", "/srv/fleet/cache")]
    )


@pytest.mark.parametrize(
    ("place", "handed"),
    [("fleet_uploads_data", [("1000:1001", "fleet_uploads_data")]), ("fleet_store_data", []), ("elsewhere", [])],
)
def test_after_a_restore_only_its_own_place_is_handed_over(place: str, handed: list[tuple[str, str]]) -> None:
    site = _site()
    site.engine.config = lambda: CONFIG
    ownership.settle(site, place)
    assert site.host.transcript == [str(scripts.hand_over(handed, whole=False))] * bool(handed)


def test_a_release_from_before_hands_nothing_over() -> None:
    config = {"services": {"core": {"volumes": [_volume("uploads")]}}, "volumes": CONFIG["volumes"]}
    assert ownership.hand_over(SETTINGS, config) == scripts.hand_over([])


@pytest.mark.parametrize(("owner", "told"), [("0:0", True), ("1000:7", False), ("", False)])
def test_a_deploy_says_what_it_will_hand_over(owner: str, told: bool) -> None:
    facts = Facts(owners={"fleet_uploads_data": owner} if owner else {})
    found = list(ownership.foreign(SETTINGS, CONFIG, facts))
    assert (
        found == ["fleet_uploads_data belongs to 0:0; the deploy hands it over to 1000:1001, as which core runs"] * told
    )


@pytest.mark.parametrize(
    ("owner", "changed", "torn"), [("70:70", ["store"], 1), ("70:70", ["core"], 0), ("999:9", ["store"], 0)]
)
def test_a_database_that_could_not_read_its_files_is_refused(owner: str, changed: list[str], torn: int) -> None:
    found = list(ownership.torn(SETTINGS, CONFIG, Facts(owners={"fleet_store_data": owner}), changed))
    assert len(found) == torn and all("services.store.user is 999" in one for one in found)


def _before(*more: str) -> Facts:
    """All in one network, as before they were split."""
    names = ("store", "cache", "core", "front", "certbot")
    there = {
        name: ("fleet_network", *more, *(("fleet_edge",) if name in ("front", "certbot") else ())) for name in names
    }
    return Facts(instances=tuple(instance(name, networks=there[name]) for name in names))


def test_what_stays_joins_the_networks_of_what_is_new() -> None:
    found = networks.moves(SETTINGS, CONFIG, _before(), {"core", "certbot"})
    assert found.lacking == {"store": ("fleet_data",), "cache": ("fleet_data",), "front": ("fleet_web",)}
    assert found.words() == [
        "store joins fleet_data while it runs", "cache joins fleet_data while it runs",
        "front joins fleet_web while it runs",
    ]  # fmt: skip


def test_an_edge_that_runs_does_not_join_the_network_of_its_own_ports() -> None:
    """Docker might publish them anew; they come with the next container of the edge."""
    names = {"edge6": {"name": "fleet_edge6"}, "web": {"name": "fleet_web"}}
    services = {"core": {"networks": {"web": None}}, "front": {"networks": {"edge6": None, "web": None}}}
    facts = Facts(instances=(instance("front", networks=("fleet_edge",)),))
    found = networks.moves(SETTINGS, {"networks": names, "services": services}, facts, set())
    assert found.lacking == {"front": ("fleet_web",)}


def test_databases_leave_what_they_do_not_need_but_the_edge_keeps_its_ports() -> None:
    assert networks.moves(SETTINGS, CONFIG, _before(), {"core"}).leaving == {
        "store": ("fleet_network",), "cache": ("fleet_network",),
    }  # fmt: skip


def test_what_is_replaced_is_still_found_by_those_that_serve() -> None:
    found = networks.moves(SETTINGS, CONFIG, _before(), {"core", "store", "cache", "front", "certbot"})
    assert (found.lacking, found.former) == ({}, dict.fromkeys(("store", "cache", "front"), ("fleet_network",)))


def test_nothing_moves_where_all_is_as_the_release_wants_it() -> None:
    there = {"store": ("fleet_data",), "front": ("fleet_edge", "fleet_web"), "certbot": ("fleet_edge",)}
    facts = Facts(instances=tuple(instance(name, networks=found) for name, found in there.items()))
    found = networks.moves(SETTINGS, CONFIG, facts, set())
    assert (found.lacking, found.former, found.leaving) == ({}, {}, {})


def test_joining_makes_the_networks_first_and_connects_under_the_services_name() -> None:
    site = _site()
    found = networks.moves(SETTINGS, CONFIG, _before(), {"core", "cache", "front", "certbot"})
    networks.join(site, networks.Moves(found.wanted, found.lacking), _before())
    made, connected = site.host.transcript
    assert "up --no-start --no-deps --no-build --no-recreate store" in made
    assert connected.endswith(" fleet_data store id-store-1")


def test_a_replaced_database_joins_by_its_new_container() -> None:
    site = _site(instance("store", 2, networks=("fleet_data",)))
    networks.join_again(site, networks.Moves(former={"store": ("fleet_network",), "cache": ("x",)}), ["store"])
    assert site.host.transcript[-1].endswith(" fleet_network store id-store-2")


def test_leaving_comes_last_and_names_the_project() -> None:
    found = networks.moves(SETTINGS, CONFIG, _before("fleet_data"), {"core"})
    assert [one.argv()[-3:] for one in networks.leave(SETTINGS, found, _before("fleet_data"))] == [
        ["fleet", "fleet_network", "id-store-1"], ["fleet", "fleet_network", "id-cache-1"],
    ]  # fmt: skip


class _Engine:
    def __init__(self, settings: Settings, instances: tuple[Instance, ...]) -> None:
        from flotteq_tasks.commands.compose import Compose

        self.containers, self.instances = Compose(settings.project.name, str(settings.directory)), instances

    def facts(self) -> Facts:
        return Facts(instances=self.instances)


def _site(*instances: Instance) -> Any:
    class Site:
        settings, host, engine = SETTINGS, FakeHost({"*": ""}), _Engine(SETTINGS, instances)

    return Site()
