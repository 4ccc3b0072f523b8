"""The edge's configuration on the host: put there, switched, put back."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from flotteq_tasks.commands import certbot, rollout
from flotteq_tasks.commands.shell import Command, script
from flotteq_tasks.host import interruption
from flotteq_tasks.host.base import Done, File
from flotteq_tasks.model.certificates import in_use
from flotteq_tasks.model.errors import FlotteqError
from flotteq_tasks.model.facts import Facts, Instance
from flotteq_tasks.model.stack import Settings
from flotteq_tasks.operations.certificates import ensure_placeholder
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.edge import draining, reload_edge, taken, taking, wait_drained
from flotteq_tasks.rendering.nginx import UPSTREAMS, generation, render_edge, render_upstreams

NOTHING_KEPT = 3
# The release of an edge that serves nothing yet.
NONE = "none"

# Files of an older set would be read by nginx's wildcards: whatever is not in the new set goes.
_SWEEP = """
umask 022
cd "$1"; shift
mkdir -p state
for wanted; do
  # What is in there belongs to the host; nginx only wants it to exist.
  case $wanted in state/*) [ -e "$wanted" ] || : >"$wanted" ;; esac
done
find . -path ./state -prune -o -type f -print | while IFS= read -r file; do
  keep=
  for wanted; do [ "./$wanted" != "$file" ] || keep=1; done
  [ -n "$keep" ] || rm -f "$file"
done
"""


def issued(settings: Settings, facts: Facts) -> frozenset[str]:
    """The public names that the edge serves an issued certificate for, not the placeholder."""
    return frozenset(name for name, use in in_use(settings, facts.certificates).items() if use.issued)


def serving(facts: Facts, new: Iterable[Instance] = ()) -> dict[str, list[str]]:
    """Containers that the edge is to send requests to: new ones where there are any, else those that serve now."""
    names = {one.name for one in facts.instances}
    active = {service: [name for name in listed if name in names] for service, listed in facts.active.items()}
    fresh: dict[str, list[str]] = {}
    for one in new:
        fresh.setdefault(one.service, []).append(one.name)
    return {**active, **fresh}


def _name(site: Site) -> str:
    return site.settings.of_kind("edge")[0]


def look(site: Site) -> Command:
    """The command whose output ``ensure`` wants."""
    return certbot.current(str(site.settings.directory))


def ensure(site: Site, facts: Facts, *, certificate: str) -> None:
    """Give the edge a configuration and a placeholder certificate where it has none, so that it always starts.

    Args:
        certificate: what ``look`` printed; nothing: there is none that can be used.
    """
    if not certificate:
        ensure_placeholder(site.host, site.settings)
    if not facts.active:
        _upload(site, render_edge(site.settings, {}, certificates=facts.certificates, release=NONE))


def render(site: Site, facts: Facts, *, certificates: Mapping[str, str] | None = None) -> str:
    """Put the files for the containers that serve now on the host; return their generation. Nothing is reloaded.

    Args:
        certificates: what the links below ``certs/`` lead to; None: what the facts say.
    """
    links = facts.certificates if certificates is None else certificates
    files = render_edge(site.settings, serving(facts), certificates=links, release=facts.active_release or NONE)
    _upload(site, files)
    return generation(files)


def drain(site: Site, facts: Facts) -> None:
    """Let the edge end every connection with its request, so that its container can be stopped at once.

    The files on the host are the usual ones afterwards: whatever starts next reads those.

    Raises:
        FlotteqError: nginx refuses the configuration, or old workers stay beyond the drain time.
    """
    active, release = serving(facts), facts.active_release or NONE
    calm = render_edge(site.settings, active, certificates=facts.certificates, release=release, draining=True)
    _upload(site, calm)
    try:
        drain = site.settings.deploy.drain
        containers = site.engine.containers
        reload_edge(site.host, containers, generation=generation(calm), drain=drain, service=_name(site))
    finally:
        with interruption.ignored():
            render(site, facts)


def reload(site: Site) -> None:
    """Let the edge read the files that lie on the host."""
    reload_edge(site.host, site.engine.containers, drain=site.settings.deploy.drain, service=_name(site))


def switch(
    site: Site,
    release: str,
    active: Mapping[str, Sequence[str]],
    *,
    certificates: Mapping[str, str],
    source: str = "",
) -> list[str]:
    """Send requests to these containers: keep the present set, put the new one, reload until it answers.

    Args:
        release: id that the set carries; a client that dies leaves it for the next command to read.
        active: containers by service.
        certificates: what the links below ``certs/`` lead to.
        source: take the other files as this release kept them, instead of rendering them, unless they read a
            certificate that is not in use any more.

    Returns:
        the edge's old workers: until ``drained`` they end requests and WebSockets of the containers from before.

    Raises:
        FlotteqError: nginx refuses the configuration.
    """
    directory = str(site.settings.directory)
    first, then = [rollout.keep_edge(directory)], [taking(site.engine.containers, service=_name(site))]
    if source:
        first.append(rollout.use_edge_of(directory, source))
        upstreams = File(render_upstreams(site.settings, active, release=release))
        done = site.host.write_tree(f"{directory}/nginx", {UPSTREAMS: upstreams}, first=first, then=then, check=False)
        if len(done) != 2 or done[1].code != NOTHING_KEPT:
            return taken(site.host, done)
    files = render_edge(site.settings, active, certificates=certificates, release=release)
    return taken(site.host, _upload(site, files, first=first[:1], then=then, check=False))


def drain_commands(site: Site, workers: list[str]) -> list[Command]:
    """What waits until old workers have ended, for a round trip with others."""
    return draining(site.engine.containers, workers, site.settings.deploy.drain, service=_name(site))


def drained(site: Site, workers: list[str]) -> None:
    """Wait until old workers have ended."""
    wait_drained(site.host, site.engine.containers, workers, site.settings.deploy.drain, service=_name(site))


def switch_back(site: Site) -> None:
    """Put the set from before the switch back and reload. Without one there was no switch."""
    directory = str(site.settings.directory)
    done = site.host.run(rollout.restore_edge(directory), check=False)
    if done.code == NOTHING_KEPT:
        return
    done.check(site.host.name)
    reload_edge(site.host, site.engine.containers, drain=site.settings.deploy.drain, service=_name(site))
    forget(site)


def forget(site: Site) -> None:
    """Remove the set from before the switch: whoever finds one takes the switch for one that did not end."""
    site.host.run(rollout.forget_edge(str(site.settings.directory)))


def refresh(site: Site, facts: Facts) -> None:
    """Render the edge again for the containers that serve now, and reload.

    Raises:
        FlotteqError: nginx refuses the configuration; the files from before lie on the host again.
    """
    try:
        workers = switch(site, facts.active_release or NONE, serving(facts), certificates=facts.certificates)
    except FlotteqError:
        # Whatever starts nginx next must not meet files that it refuses.
        with interruption.ignored():
            switch_back(site)
        raise
    drained(site, workers)
    forget(site)


def _upload(
    site: Site,
    files: Mapping[str, bytes],
    *,
    first: Sequence[Command] = (),
    then: Sequence[Command] = (),
    check: bool = True,
) -> list[Done]:
    directory = f"{site.settings.directory}/nginx"
    ours = {path: File(content) for path, content in files.items() if not path.startswith("state/")}
    sweep = script(_SWEEP, directory, list(files))
    return site.host.write_tree(directory, ours, first=first, then=[sweep, *then], check=check)


def differences(site: Site, facts: Facts) -> dict[str, str]:
    """Files of the edge that today's settings would change: path → new, changed or gone. Who serves does not count."""
    wanted = {
        f"nginx/{path}": sha256(content).hexdigest()
        for path, content in render_edge(site.settings, serving(facts), certificates=facts.certificates).items()
    }
    return compared(facts.edge_files, wanted, ignore=(f"nginx/{UPSTREAMS}", "nginx/state/"))


def compared(now: Mapping[str, str], then: Mapping[str, str], *, ignore: tuple[str, ...] = ()) -> dict[str, str]:
    """Paths that differ between two sets of hashes; those that begin with one of ``ignore`` are left out."""
    found = {path: "changed" if path in now else "new" for path, mark in then.items() if now.get(path) != mark}
    found.update({path: "gone" for path in now if path not in then})
    return {path: what for path, what in sorted(found.items()) if not path.startswith(ignore)} if ignore else found
