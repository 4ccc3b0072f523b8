"""The maintenance page: everybody but those on the list gets it, and certificates are renewed all the same."""

import ipaddress
from collections.abc import Iterable, Mapping

from flotteq_tasks.commands import nginx
from flotteq_tasks.model.errors import FlotteqError, UsageError
from flotteq_tasks.operations import edge_files
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.lock import locked


def networks(texts: Iterable[str]) -> tuple[str, ...]:
    """Check addresses and networks typed by a person; return them as nginx writes them, each once.

    Raises:
        UsageError: one is neither an address nor a network.
    """
    found = []
    for text in (part.strip() for one in texts for part in one.split(",")):
        try:
            # nginx knows no zones ("%eth0").
            network = ipaddress.ip_network(text.replace("%", "?"), strict=False)
        except ValueError:
            raise UsageError(
                f"--allow {text!r} is neither an IPv4 or IPv6 address nor a network",
                hint="for example --allow 203.0.113.7 --allow 2001:db8::/32",
            ) from None
        whole = network.prefixlen == network.max_prefixlen
        found.append(str(network.network_address) if whole else str(network))
    return tuple(dict.fromkeys(found))


def turn_on(site: Site, allow: Iterable[str], variables: Mapping[str, str]) -> str:
    """Show the maintenance page on all domains; return what is so now in one sentence.

    Args:
        allow: addresses and networks that see the site.

    Raises:
        UsageError: one of them is none.
        FlotteqError: the edge does not run.
    """
    allowed = networks(allow)
    directory = str(site.settings.directory)
    with locked(site, holder("maintenance.on", variables)) as keeper:
        facts = site.engine.facts()
        if not any(one.running for name in site.settings.of_kind("edge") for one in facts.of(name)):
            raise FlotteqError(f"{site.host.name}: the edge does not run", hint="inv status")
        current = site.host.read(f"{directory}/nginx/state/maintenance.allow")
        # An edge that does not know the list yet, or knows another one, reads it before anybody sees the page.
        if allowed or current is None or current.strip():
            with site.report.step("list of addresses") as note:
                if current is None:
                    edge_files.render(site, facts)
                site.host.run(nginx.maintenance_allow(directory, allowed))
                edge_files.reload(site)
                note.text = ", ".join(allowed) or "empty"
        with site.report.step("maintenance page"):
            site.host.run(nginx.maintenance_on(directory))
        keeper.write("maintenance.on", allowed=list(allowed))
    exempt = f", but not to {', '.join(allowed)}" if allowed else ""
    return f"{len(site.settings.public)} domains answer 503{exempt}; inv maintenance.off ends it"


def turn_off(site: Site, variables: Mapping[str, str]) -> str:
    """Take the maintenance page away; return what is so now in one sentence. No request fails: nothing is reloaded."""
    with locked(site, holder("maintenance.off", variables)) as keeper:
        was_on = site.engine.facts().maintenance
        with site.report.step("maintenance page"):
            site.host.run(nginx.maintenance_off(str(site.settings.directory)))
        keeper.write("maintenance.off", was_on=was_on)
    return f"{len(site.settings.public)} domains answer as before" if was_on else "the maintenance page was not on"
