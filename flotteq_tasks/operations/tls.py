"""The certificates' tasks: under the host's lock, on an edge that runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from flotteq_tasks.commands import renewal
from flotteq_tasks.model.errors import ExitCode, FlotteqError, PreflightFailed
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.model.release import Release
from flotteq_tasks.operations import certificates, edge_check, edge_files, ownership, preflight
from flotteq_tasks.operations.certificates import Overview
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import Keeper, locked
from flotteq_tasks.operations.repair import repair

BOOTSTRAP = "bootstrap"


def init(site: Site, variables: Mapping[str, str], *, allow_partial: bool = False) -> str:
    """Obtain and install certificates; on a bare host start the edge first. Return what happened in one sentence.

    Args:
        allow_partial: without the names that are not ready.
    """
    with _locked(site, "ssl.init", variables) as keeper:
        # What a switch that did not end would put back may read a certificate that is removed here.
        facts = repair(site, keeper)
        if not _edge_runs(site, facts):
            facts = start_edge(site, facts)
        elif edge_files.differences(site, facts):
            # A name that is new in flotteq.toml must be answered before the authority asks for it.
            with site.report.step("reload the edge"):
                edge_check.check(site, facts, "check")
                edge_files.refresh(site, facts)
        with _noted(site, "ssl.init"):
            changed = _certificates(site, facts).init(allow_partial=allow_partial)
        keeper.write("ssl.init", changed=changed)
    return _sentence(site, changed=changed)


def foresee(site: Site, *, allow_partial: bool = False) -> certificates.Forecast:
    """What ``init`` would do; nothing is changed, and no authority is asked.

    Raises:
        PreflightFailed: a name is not ready for an order.
    """
    facts = site.engine.facts()
    found = _certificates(site, facts).foresee(allow_partial=allow_partial)
    if not _edge_runs(site, facts):
        return replace(found, notes=("the edge does not run: it would be started first", *found.notes))
    if edge_files.differences(site, facts):
        return replace(found, notes=("the edge would be reloaded first: its files differ", *found.notes))
    return found


def renew(site: Site, variables: Mapping[str, str], *, dry_run: bool) -> str:
    """Renew when due; return what happened in one sentence."""
    with _locked(site, "ssl.renew", variables) as keeper:
        with _noted(site, "ssl.renew --dry-run" if dry_run else "ssl.renew"):
            changed = _certificates(site, site.engine.facts()).renew(dry_run=dry_run)
        keeper.write("ssl.renew", changed=changed, dry_run=dry_run)
    return "the rehearsal passed; nothing was changed" if dry_run else _sentence(site, changed=changed)


def install(site: Site, facts: Facts) -> bool:
    """Put certbot's newest certificates into use under a lock that the caller holds; whether the edge was reloaded."""
    return _certificates(site, facts).install()


def status(site: Site) -> Overview:
    """What every name serves, and how the last renewal ended."""
    return certificates.overview(site.host, site.settings, site.engine.containers)


def reload(site: Site, variables: Mapping[str, str]) -> None:
    """Render the edge's files again and reload."""
    with _locked(site, "nginx.reload", variables) as keeper:
        # Else the set that a switch without an end would be taken back to gives way to that of the switch.
        facts = repair(site, keeper)
        if not _edge_runs(site, facts):
            raise FlotteqError(f"{site.host.name}: the edge does not run", hint="inv status")
        with site.report.step("check the configuration"):
            edge_check.check(site, facts, "check")
        with site.report.step("reload"):
            edge_files.refresh(site, facts)
        keeper.write("nginx.reload")


def start_edge(site: Site, facts: Facts) -> Facts:
    """Start the edge and its tools on a host where nothing has been deployed yet.

    Raises:
        PreflightFailed: the host is not ready.
    """
    problems = [one for one in preflight.check_host(site.settings, facts, first_install=True) if one.fatal]
    if problems:
        raise PreflightFailed("; ".join(one.what for one in problems), hint="\n".join(one.fix for one in problems))
    names = [name for name, one in site.settings.services.items() if one.kind in ("edge", "tool")]
    live = facts.release or Release(BOOTSTRAP, "", {}, created=datetime.now(UTC).isoformat(timespec="seconds"))
    with site.report.step("start the edge") as note:
        images = site.engine.fetch({name: live.images.get(name) or site.settings.reference(name, "") for name in names})
        pins = {name: image.pinned for name, image in images.items()}
        staged = site.engine.stage(replace(live, images={**live.images, **pins}))
        hand_over = ownership.hand_over(site.settings, staged.config)
        there = site.engine.activate(staged.release.id, then=[edge_files.look(site), hand_over])
        edge_files.ensure(site, facts, certificate=there[0].out.strip())
        site.engine.start(names)
        note.text = ", ".join(names)
    return site.engine.facts()


def _certificates(site: Site, facts: Facts) -> certificates.Certificates:
    return certificates.Certificates(
        site.host,
        site.settings,
        site.engine.containers,
        site.report,
        lambda links: edge_files.render(site, facts, certificates=links),
    )


@contextmanager
def _locked(site: Site, what: str, variables: Mapping[str, str]) -> Iterator[Keeper]:
    with locked(site, holder(what, variables)) as keeper:
        yield keeper


@contextmanager
def _noted(site: Site, what: str) -> Iterator[None]:
    """Write down on the host how it ended."""
    code = ExitCode.FAILED
    try:
        yield
        code = ExitCode.OK
    except FlotteqError as error:
        code = error.exit_code
        raise
    finally:
        # A host that is gone is told of by what failed first.
        with suppress(FlotteqError):
            site.host.run(renewal.note(str(site.settings.directory), what, int(code)), check=False)


def _edge_runs(site: Site, facts: Facts) -> bool:
    names = [name for name, one in site.settings.services.items() if one.kind in ("edge", "tool")]
    return all(any(one.running for one in facts.of(name)) for name in names)


def _sentence(site: Site, *, changed: bool) -> str:
    files = certificates.on_host(site.host, site.settings)
    names, all_names = sum(1 for name, leaf in files.items() if leaf and leaf.holds(name)), len(site.settings.public)
    number = f"{names} names" if names == all_names else f"{names} of {all_names} names"
    if site.settings.acme.layout == "one":
        return f"the certificate of {number} is in use" if changed else f"the certificate of {number} is good; not due"
    return f"certificates of {number} are in use" if changed else f"the certificates of {number} are good; not due"
