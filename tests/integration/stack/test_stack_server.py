"""A bare host becomes one for deploys, stays one, lets nobody else in, and never locks its operator out."""

import json
import shutil
import ssl
from collections.abc import Callable, Iterator

import pytest
from support.bare import Bare
from support.cli import Cli
from support.load import Request, fetch
from support.stack import API, INSTANCE, REPOSITORY, VERSION, Stack, make_project, wait_for

from flotteq_tasks.host.local import LocalHost
from flotteq_tasks.operations.sandbox import lifecycle, machine
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.names import Names

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

WEB = [22, 80, 443]
_ANY = ssl.create_default_context()
_ANY.check_hostname, _ANY.verify_mode = False, ssl.CERT_NONE
# Nothing that a second run must not touch: files with their times, packages, rules, processes that serve.
_TRACES = """
cd /etc; find . -newermt 2000-01-01 -type f -printf '%p %T@\\n' | grep -v -e '^./ld.so' -e resolv.conf | sort
dpkg-query -W | sha256sum
nft -s list chain inet flotteq_firewall input
nft -s list chain inet flotteq_firewall forward
systemctl show docker ssh --property=MainPID,ActiveEnterTimestampMonotonic
docker ps --all --no-trunc --quiet | sort
"""
_STARTED = "docker ps --quiet | xargs docker inspect --format '{{.Id}} {{.State.StartedAt}}' | sort"
# One process of the host itself, one container that Docker publishes everywhere.
_INTRUDERS = """
systemd-run --quiet --unit=intruder perl -MIO::Socket::INET -e \
  'my $s = IO::Socket::INET->new(LocalPort => 9090, Listen => 1) or die; sleep 900'
docker run --detach --restart always --name intruder \\
  --publish 0.0.0.0:8080:80 --publish 0.0.0.0:9000:80 nginx:1.30 >/dev/null
"""
# A neighbour that speaks IPv6.
_MOVE_IN = """
sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0
ip netns add neighbour
ip link add inside type veth peer name outside netns neighbour
ip link set inside up
ip address add fd42::1/64 dev inside nodad
ip -n neighbour link set outside up
ip -n neighbour address add fd42::2/64 dev outside nodad
"""
# Which ports it reaches, then how often in a row it may knock at sshd's.
_NEIGHBOUR = (
    _MOVE_IN
    + """
systemd-run --quiet --unit=intruder-v6 perl -MIO::Socket::IP -e \
  'my $s = IO::Socket::IP->new(LocalHost => "::", LocalPort => 9091, Listen => 1) or die; sleep 900'
until ss -Hltn 'sport = :9091' | grep -q .; do sleep 0.1; done
reach() { ip netns exec neighbour timeout 1 bash -c "</dev/tcp/fd42::1/$1" 2>/dev/null; }
for port in 22 9091; do if reach "$port"; then echo "$port open"; else echo "$port closed"; fi; done
count=1
while [ "$count" -lt 80 ] && reach 22; do count=$((count + 1)); done
echo "$count knocks"
ip netns del neighbour
systemctl stop intruder-v6
"""
)
# What the API says of who asks.
_WHO = f"ip netns exec neighbour curl -gsk --max-time 10 --resolve {API}:443:[fd42::1] https://{API}/api/whoami"
_SUBNET = {"FLOTTEQ__EDGE__IPV6_SUBNET": "fd9b:6e4c:21d7::/64"}


@pytest.fixture(scope="module")
def bare(stack: Stack, tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]) -> Iterator[Bare]:
    """Root gets in with a key, and that is all; the registry has what the stack's own host was deployed from."""
    sandbox = lifecycle.up_bare(REPOSITORY, say, instance=INSTANCE)
    project = make_project(tmp_path_factory.mktemp("bare"), sandbox.environment.relative_to(REPOSITORY).as_posix())
    shutil.copytree(stack.project / ".secrets", project / ".secrets")
    docker, names = Docker(LocalHost()), Names(sandbox.instance)
    address = docker.run(
        "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", names.host
    ).out.strip()
    yield Bare(sandbox, Cli(project, {"FLOTTEQ_ENV": "sandbox"}), address)
    machine.remove_machine(docker, names)


@pytest.fixture(scope="module")
def ready(bare: Bare, say: Callable[[str], None]) -> Bare:
    done = bare.inv("server.setup", timeout=600).ok()
    say(f"inv server.setup: {done.seconds:.1f} s")
    return bare


def test_a_dry_run_shows_everything_and_changes_nothing(bare: Bare) -> None:
    before = bare.host("dpkg-query -W; find /etc -type f | sort").out
    done = bare.inv("server.setup", "--dry-run").ok()
    assert "+ docker.io installed" in done.out
    assert "+ PasswordAuthentication no" in done.out
    assert "tcp dport { 22, 80, 443 } accept" in done.out
    assert '+   "live-restore": true' in done.out
    assert bare.host("dpkg-query -W; find /etc -type f | sort").out == before


def test_a_port_that_is_taken_is_named(bare: Bare) -> None:
    bare.host("systemd-run --quiet --unit=squatter perl -MIO::Socket::INET -e "
              "'my $s = IO::Socket::INET->new(LocalPort => 80, Listen => 1); sleep 600'")  # fmt: skip
    wait_for(lambda: bare.host("ss -Hltn 'sport = :80'").out, "the port to be taken")
    done = bare.inv("server.setup").ended(1)
    bare.host("systemctl stop squatter")
    assert "port 80 is held by perl (pid" in done.err


def test_who_gets_in_afterwards(ready: Bare) -> None:
    effective = ready.host("sshd -T").out
    assert "passwordauthentication no\n" in effective and "permitrootlogin no\n" in effective
    done = ready.inv("doctor", variables={"FLOTTEQ__HOST__USER": "root"})
    assert "the login was refused" in done.out
    assert "host" in ready.inv("doctor").out


def test_a_second_run_changes_nothing(ready: Bare) -> None:
    before = ready.host(_TRACES).out
    done = ready.inv("server.setup").ok()
    assert "nothing was changed" in done.out
    assert ready.host(_TRACES).out == before
    assert ready.inv("server.check").ok().seconds < 20


def test_a_deploy_works_and_nothing_else_is_open(ready: Bare, say: Callable[[str], None]) -> None:
    say(f"inv deploy: {ready.inv('deploy', '--version', VERSION).ok().seconds:.1f} s")
    _serves(ready)
    ready.host(_INTRUDERS)
    listening = {int(port) for port in ready.host("ss -Hltn | awk '{ sub(/.*:/, \"\", $4); print $4 }'").out.split()}
    assert ready.open_ports({*listening, 8080, 9000}) == WEB
    # From the host itself it is there: only the way from outside is closed.
    assert ready.host("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9000/").out == "200"


def test_a_neighbour_over_ipv6_gets_no_further_and_knocks_in_vain(ready: Bare) -> None:
    ssh, other, knocks = ready.host(_NEIGHBOUR).out.splitlines()
    assert (ssh, other) == ("22 open", "9091 closed")
    assert 40 <= int(knocks.split()[0]) <= 45


def test_a_restart_of_the_engine_stops_nothing_and_opens_nothing(ready: Bare) -> None:
    started = ready.host(_STARTED).out
    ready.host("systemctl restart docker")
    wait_for(lambda: ready.host("docker info", check=False).ok, "the engine to answer")
    assert ready.host(_STARTED).out == started
    _serves(ready)
    assert ready.open_ports({8080, 9000}) == WEB


def test_the_edge_can_still_be_replaced_while_connections_wait(ready: Bare) -> None:
    done = ready.inv("nginx.upgrade", variables={"FLOTTEQ__SERVICES__NGINX__MEMORY": "300m"}).ok()
    assert "new connections waited" in done.out
    assert ready.differing() == []


def test_a_reboot_brings_everything_back(ready: Bare) -> None:
    ready.reboot()
    wait_for(lambda: _answers(ready), "the API to answer", timeout=120)
    assert ready.open_ports({8080, 9000}) == WEB
    # It waits until all are healthy.
    wait_for(lambda: ready.host("systemctl is-active flotteq-stack", check=False).out.strip() == "active", "the stack")
    assert ready.host("systemctl --failed --plain --no-legend").out == ""
    assert ready.inv("server.check").ok()
    assert json.loads(ready.inv("status", "--json").out)["version"] == VERSION


def test_drift_is_found_and_mended(ready: Bare) -> None:
    ready.host(
        "nft add rule inet flotteq_firewall input tcp dport 9090 accept; systemctl disable --quiet flotteq-stack; "
        "echo MaxAuthTries 9 >>/etc/ssh/sshd_config.d/00-flotteq.conf; sed -i s/10m/11m/ /etc/docker/daemon.json"
    )
    done = ready.inv("server.check").ended(5)
    assert "loaded, but not as the file says" in done.out
    assert ready.differing() == ["daemon", "stack", "sshd", "firewall"]
    started = ready.host(_STARTED).out
    mended = ready.inv("server.setup").ok()
    assert "changed: daemon, stack, sshd, firewall" in mended.out and "Docker was restarted" in mended.out
    assert ready.host(_STARTED).out == started
    assert ready.differing() == []
    _serves(ready)


def test_a_visitor_over_ipv6_is_seen_by_his_own_address(ready: Bare) -> None:
    """The running edge keeps its ports and its network; the next container has the other one."""
    ready.host(_MOVE_IN)
    assert ready.host(_WHO, check=False).out == "", "without proxy processes nobody gets in over IPv6"
    assert "changed: daemon" in ready.inv("server.setup", variables=_SUBNET).ok().out
    assert "new connections waited" in ready.inv("nginx.upgrade", variables=_SUBNET).ok().out
    assert json.loads(ready.host(_WHO).out)["client"] == "fd42::2"
    ready.host("ip netns del neighbour")
    _serves(ready)
    assert ready.inv("server.check", variables=_SUBNET).ok()


@pytest.mark.parametrize(
    ("template", "content"),
    [
        ("sshd.conf", "DenyUsers deploy\nPasswordAuthentication no\n"),
        ("firewall.nft", "table inet flotteq_firewall {}\ndelete table inet flotteq_firewall\n"
         "table inet flotteq_firewall {\n  chain input { type filter hook input priority 0; policy drop; }\n"
         "  chain forward { type filter hook forward priority 0; policy drop; }\n}\n"),
    ],
)  # fmt: skip
def test_a_change_that_would_lock_everybody_out_is_taken_back(ready: Bare, template: str, content: str) -> None:
    """The second one also cuts the connection that made it: the host's own timer is what is left."""
    own = ready.inv.project / "server"
    own.mkdir(exist_ok=True)
    (own / template).write_text(content)
    try:
        done = ready.inv("server.setup", variables={"FLOTTEQ__SERVER__CONFIRM": "12"}, timeout=120)
    finally:
        shutil.rmtree(own)
    assert (done.code, "was put back" in done.err) == (3, True), str(done)
    assert ready.differing() == []
    _serves(ready)


def _serves(ready: Bare) -> None:
    wait_for(lambda: _answers(ready), "the API to answer", timeout=30)


def _answers(ready: Bare) -> bool:
    """Over the placeholder certificate: none was ordered."""
    edge = ready.sandbox.edge
    try:
        code, _, body = fetch(Request(API, "/api/health"), address=edge.address, port=edge.https_port, context=_ANY)
    except OSError:
        return False
    return code == 200 and json.loads(body)["database"] == "connected"
