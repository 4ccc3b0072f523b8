"""What a host must have: the files as text, the states that are wanted, the facts, the refusals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit_support import execute, fake_program, fleet, shellcheck

from flotteq_tasks.commands import guard, server, server_docker
from flotteq_tasks.commands.shell import Command
from flotteq_tasks.host.fake import FakeHost
from flotteq_tasks.model.edge import EdgeSettings
from flotteq_tasks.model.errors import AccessDenied, PreflightFailed, SettingsError
from flotteq_tasks.model.server import ServerFacts, ServerSettings
from flotteq_tasks.model.stack import HostSettings
from flotteq_tasks.operations.server import facts as looking
from flotteq_tasks.operations.server.items import State, items
from flotteq_tasks.rendering import server as rendering

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 ada"
SETTINGS = fleet(host=HostSettings(address="fleet.example", user="deploy"))
FACTS = ServerFacts(
    distribution="debian 13", codename="trixie", root=True, systemd=True, disk=50_000, memory=4000, ssh_ports=(22,),
    keys=(KEY,),
)  # fmt: skip

FIREWALL = """\
table inet fleet_firewall {}
delete table inet fleet_firewall
table inet fleet_firewall {
	set ssh_v4 {
		type ipv4_addr
		flags dynamic,timeout
		timeout 2m
		size 65535
	}
	set ssh_v6 {
		type ipv6_addr
		flags dynamic,timeout
		timeout 2m
		size 65535
	}
	chain input {
		type filter hook input priority filter - 10; policy drop;
		ct state established,related accept
		iifname "lo" accept
		ct state invalid drop
		iifname "wg0" accept
		icmp type { destination-unreachable, time-exceeded, parameter-problem, echo-request } accept
		icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request } accept
		icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept
		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
		tcp dport 2202 update @ssh_v4 { ip saddr limit rate over 20/minute burst 40 packets } drop
		tcp dport 2202 update @ssh_v6 { ip6 saddr limit rate over 20/minute burst 40 packets } drop
		tcp dport { 2202, 80, 443 } accept
		udp dport { 443, 51820 } accept
	}
	chain forward {
		type filter hook forward priority filter - 10; policy drop;
		ct state established,related accept
		iifname "docker*" accept
		iifname "br-*" accept
		iifname "wg0" accept
		meta l4proto tcp ct status dnat ct original proto-dst { 80, 443 } accept
		meta l4proto udp ct status dnat ct original proto-dst { 443, 51820 } accept
	}
}
"""


def settings(**server_: Any):
    return replace(SETTINGS, server=ServerSettings(**server_))


def uncommented(text: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if not line.strip().startswith("#"))


def test_the_firewall_as_text() -> None:
    wanted = replace(
        settings(open_udp=(51820,), trusted_interfaces=("wg0",), ssh_port=2202), edge=EdgeSettings(http3=True)
    )
    text = rendering.text(wanted, FACTS, "firewall.nft")
    assert uncommented(text) == FIREWALL
    assert "flush ruleset" not in uncommented(text)


def test_without_udp_there_is_no_rule_for_it() -> None:
    rules = uncommented(rendering.text(SETTINGS, FACTS, "firewall.nft"))
    assert "l4proto udp" not in rules and "{  }" not in rules
    assert "tcp dport { 22, 80, 443 } accept" in rules


def test_sshd_as_text() -> None:
    assert uncommented(rendering.text(SETTINGS, FACTS, "sshd.conf")) == (
        "PubkeyAuthentication yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitEmptyPasswords no\nPermitRootLogin no\nX11Forwarding no\nLoginGraceTime 30\n"
    )
    kept = settings(root_login=True)
    assert "PermitRootLogin prohibit-password\n" in rendering.text(kept, FACTS, "sshd.conf")
    (item,) = [one for one in items(kept, FACTS) if one.name == "sshd"]
    assert "permitrootlogin without-password\n" in item.wanted


def test_a_container_keeps_its_hands_off_the_kernel() -> None:
    inside = replace(FACTS, container=True)
    assert "vm." in rendering.text(SETTINGS, FACTS, "sysctl.conf")
    assert "vm." not in rendering.text(SETTINGS, inside, "sysctl.conf")
    names = [[one.name for one in items(SETTINGS, found)] for found in (FACTS, inside)]
    assert ["swap" in found for found in names] == [True, False]


def test_docker_keeps_what_was_configured() -> None:
    before = '{"registry-mirrors": ["http://mirror"], "icc": true, "log-opts": {"max-size": "1g"}}'
    merged = rendering.daemon(SETTINGS, before)
    assert '"http://mirror"' in merged and '"icc": false' in merged and '"max-size": "10m"' in merged
    assert '"live-restore": true' in merged and '"userland-proxy": false' in merged
    assert rendering.daemon(SETTINGS, merged.strip()) == merged
    assert "ip6tables" not in merged
    assert '"ip6tables": true' in rendering.daemon(fleet(edge=EdgeSettings(ipv6_subnet="fd00:1::/64")), "")
    with pytest.raises(SettingsError, match=r"daemon\.json on the host is no JSON"):
        rendering.daemon(SETTINGS, "{")


def test_what_locks_out_comes_last_and_docker_is_configured_before_it_is_installed() -> None:
    names = [one.name for one in items(SETTINGS, FACTS)]
    assert names == [
        "upgrades", "daemon", "packages", "engine", "clock", "user", "keys", "sudo", "directories", "sysctl", "swap",
        "stack", "sshd", "firewall",
    ]  # fmt: skip
    assert [one.name for one in items(SETTINGS, FACTS) if one.guard] == ["sshd", "firewall"]


def test_dockers_repository_is_checked_by_its_fingerprint() -> None:
    wanted = settings(docker="docker", docker_url="https://packages.example/linux")
    found = {one.name: one for one in items(wanted, FACTS)}
    assert "docker-ce installed\n" in found["packages"].wanted and "docker.io" not in found["packages"].wanted
    (text,) = found["repository"].files.values()
    assert "URIs: https://packages.example/linux/debian\nSuites: trixie\n" in text.content
    assert wanted.server.docker_fingerprint in found["repository"].before.argv()


def test_another_clock_stays() -> None:
    found = {one.name: one for one in items(SETTINGS, replace(FACTS, clock="chrony"))}
    assert "timesyncd" not in found["packages"].wanted and found["clock"].wanted == "chrony.service enabled\n"


@pytest.mark.parametrize(
    ("given", "own", "login", "wanted"),
    [
        ((KEY,), ("ssh-rsa AAAA x",), (), f"{KEY}\n"),
        ((), ("ssh-rsa AAAA x",), (KEY,), "ssh-rsa AAAA x\n"),
        ((), (), (KEY,), f"{KEY}\n"),
    ],
)
def test_who_may_log_in(given: tuple[str, ...], own: tuple[str, ...], login: tuple[str, ...], wanted: str) -> None:
    found = items(settings(keys=given), replace(FACTS, own_keys=own, keys=login))
    (item,) = [one for one in found if one.name == "keys"]
    assert item.wanted == f"600 deploy\n{wanted}"


def test_the_stack_is_started_in_order_and_stopped_in_the_opposite_one() -> None:
    text = rendering.text(SETTINGS, FACTS, "stack.sh")
    assert text.index("start store cache") < text.index("start core web-app") < text.index("start front")
    stops = text[text.index("\nstop)") :]
    assert stops.index("stop front") < stops.index("stop core web-app") < stops.index("stop store cache")
    assert shellcheck(text, "sh") == ""


DOCKER = """
case "$1 $*" in
info*) ;;
ps*service=store*) echo s1 ;;
ps*service=core*) echo c1; echo c2 ;;
ps*service=front*) echo f1; echo f2 ;;
inspect*)
  for id; do :; done
  case $id in
  s1) echo "always s1 $(cat STATE 2>/dev/null || echo exited) healthy" ;;
  c1) echo "always c1 running healthy" ;;
  c2) echo "always c2 created" ;;
  f1) echo "no f1 exited" ;;
  f2) echo "always f2 running" ;;
  esac ;;
start*) echo running >STATE; echo "$*" >>CALLS ;;
stop*) echo "$*" >>CALLS ;;
esac
"""


@pytest.mark.parametrize(
    ("verb", "calls"), [("start", ["start s1"]), ("stop", ["stop f1 f2", "stop c1 c2", "stop s1"])]
)
def test_a_boot_starts_only_what_lasts_and_lies_down(tmp_path: Path, verb: str, calls: list[str]) -> None:
    """Not what an upgrade of the edge took out of service, not what a deploy has made and not begun."""
    body = DOCKER.replace("STATE", str(tmp_path / "state")).replace("CALLS", str(tmp_path / "calls"))
    fake_program(tmp_path / "bin", "docker", body)
    text = rendering.text(SETTINGS, FACTS, "stack.sh")
    done = execute(Command("sh", "-c", text, "stack", verb), path=tmp_path / "bin")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "calls").read_text().splitlines() == calls


FOUND = """
@@ distribution
debian
13

@@ uid
0

@@ systemd
yes

@@ container
docker

@@ ssh
22
2202

@@ holders
80 apache2 812

@@ daemon
{

  "icc": true
}

@@ keys
ssh-ed25519 AAAA ada
command="echo no" ssh-rsa BBBB root
# a comment

@@ own
"""


def test_facts_are_understood() -> None:
    found = looking.parse(FOUND)
    assert (found.distribution, found.root, found.systemd, found.container) == ("debian 13", True, True, True)
    assert (found.ssh_ports, found.holders) == ((22, 2202), {80: "apache2 (pid 812)"})
    assert found.daemon == '{\n\n  "icc": true\n}'
    assert (found.keys, found.own_keys) == (("ssh-ed25519 AAAA ada",), ())


@pytest.mark.parametrize(
    ("changes", "server_", "said"),
    [
        ({"distribution": "ubuntu 22.04"}, {}, "ubuntu 22.04 is not supported"),
        ({"systemd": False}, {}, "debian 13 without systemd is not supported"),
        ({"distribution": "debian 12"}, {}, "debian 12 has no Compose v2 in its packages"),
        ({"engine": "docker-ce"}, {}, "it has docker-ce, and server.docker is distribution"),
        ({"engine": "docker.io"}, {"docker": "docker"}, "it has docker.io, and server.docker is docker"),
        ({"ssh_ports": (2202,)}, {}, "its sshd listens on 2202, the firewall would open 22"),
        ({"holders": {80: "apache2 (pid 812)"}}, {}, r"port 80 is held by apache2 \(pid 812\)"),
        ({"uplinks": ("br-ex",)}, {}, "its way outside is br-ex"),
        ({"disk": 900}, {}, "900 MiB are free, 10000 are needed"),
        ({"memory": 900}, {}, "it has 900 MiB of memory, 1900 are needed"),
        ({"keys": ()}, {}, "there is no public key to let in"),
    ],
)
def test_refusals(changes: dict[str, Any], server_: dict[str, Any], said: str) -> None:
    with pytest.raises(PreflightFailed, match=said) as caught:
        looking.require(settings(**server_), FakeHost(), replace(FACTS, **changes))
    assert caught.value.hint


def test_who_is_not_root_is_refused() -> None:
    with pytest.raises(AccessDenied, match="do not run as root"):
        looking.require(SETTINGS, FakeHost(), replace(FACTS, root=False))


@pytest.mark.parametrize(
    ("address", "user", "said"), [("local", "deploy", "address is local"), ("h", "root", "name the user")]
)
def test_an_environment_without_somebody_who_deploys_is_refused(address: str, user: str, said: str) -> None:
    with pytest.raises(PreflightFailed, match=said):
        looking.require_user(replace(SETTINGS, host=HostSettings(address=address, user=user)))


def test_the_difference_is_the_plan() -> None:
    assert State("a", "", "x\nold\n", "x\nnew\n").changes == ["- old", "+ new"]
    assert State("a", "", "x\n\n", "x\n").ok


@pytest.mark.parametrize(
    ("there", "said"), [("24.0.7", "engine 24.0.7"), ("25.0.0", "engine 25.0 or later"), ("", "engine ")]
)
def test_an_engine_that_is_too_old_is_named(tmp_path: Path, there: str, said: str) -> None:
    """The distribution's, where its updates are switched off: Compose refuses the stack's health checks then."""
    fake_program(tmp_path / "bin", "docker", f"case $1 in version) echo {there} ;; compose) echo 2.24.6+ds1 ;; esac")
    lines = execute(server_docker.engine("25.0", "2.20"), path=tmp_path / "bin").stdout.splitlines()
    assert lines[-2:] == [said, "compose 2.20 or later"]


def test_a_key_with_another_fingerprint_never_gets_there(tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "curl", 'while [ "$1" != -o ]; do shift; done; echo key >"$2"')
    fake_program(tmp_path / "bin", "gpg", "echo pub:x; echo fpr:::::::::BAD:; echo sub:x; echo fpr:::::::::GOOD:")
    file = tmp_path / "key.asc"
    done = execute(server_docker.fetch_key("https://x", str(file), "GOOD"), path=tmp_path / "bin")
    assert (done.returncode, done.stdout, file.exists()) == (server_docker.KEY_DIFFERS, "BAD\n", False)
    done = execute(server_docker.fetch_key("https://x", str(file), "BAD"), path=tmp_path / "bin")
    assert (done.returncode, file.exists()) == (0, True)


def test_settings_that_docker_refuses_are_taken_back(tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "dockerd", 'case $1 in --help) echo --validate ;; *) echo "bad key"; exit 1 ;; esac')
    file = tmp_path / "daemon.json"
    file.write_text("new")
    (tmp_path / "daemon.json.before").write_text("old")
    done = execute(server_docker.restart_engine(str(file), wait=1), path=tmp_path / "bin")
    assert (done.returncode, done.stdout, file.read_text()) == (server_docker.REFUSED, "bad key\n", "old")


def test_swap_that_is_there_is_enough(tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "awk", "echo 2047")
    assert execute(server.swap(2048), path=tmp_path / "bin").stdout == "swap enough\n"
    assert execute(server.swap(4096), path=tmp_path / "bin").stdout == "swap 2047 MiB\n"


def test_a_change_that_was_taken_back_cannot_be_kept(tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "systemctl", "exit 3")
    assert execute(guard.confirm("u"), path=tmp_path / "bin").returncode == guard.TOO_LATE


def test_taking_back_puts_changed_files_back_and_removes_new_ones(tmp_path: Path) -> None:
    """The script that the timer runs."""
    old, new, kept = tmp_path / "old", tmp_path / "new", tmp_path / "kept"
    kept.mkdir()
    (kept / "1").write_text("before")
    old.write_text("after")
    new.write_text("after")
    text = guard.arm("u", [], load="", seconds=1).argv()[6]
    done = execute(Command("sh", "-c", text, "u", str(kept), f"touch {tmp_path}/loaded", str(old), str(new)))
    assert (done.returncode, done.stderr) == (0, "")
    assert (old.read_text(), new.exists(), kept.exists()) == ("before", False, False)
    assert (tmp_path / "loaded").exists()
