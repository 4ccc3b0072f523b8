"""Watch a new release after the switch: the edge's own log tells what everybody is answered, not only the probe."""

from collections.abc import Sequence

from flotteq_tasks.commands import rollout
from flotteq_tasks.model.errors import Unhealthy
from flotteq_tasks.model.facts import Instance
from flotteq_tasks.operations.context import Site

# Fewer errors than this prove nothing, whatever their share.
ENOUGH = 5


def monitor(site: Site, new: Sequence[Instance], seconds: int) -> str:
    """Watch new containers and the edge's answers; return what was seen in words.

    Args:
        seconds: how long; it ends at once when a container dies or errors pass the limit.

    Raises:
        Unhealthy: too many answers of a service were 5xx, or a container ended.
    """
    share = site.settings.deploy.max_failure_ratio
    services = {one.name: one.service for one in new}
    addresses = {site.settings.domain(one.service): one.service for one in new if _is_public(site, one.service)}
    command = rollout.monitor(
        site.settings.project.name,
        site.settings.of_kind("edge")[0],
        list(addresses),
        list(services),
        seconds=seconds,
        enough=ENOUGH,
        percent=max(1, round(share * 100)),
    )
    done = site.host.run(command, timeout=seconds + 60, check=False)
    words = done.out.strip().splitlines()[-1].split() if done.out.strip() else []
    if done.ok and len(words) == 3:
        return f"{int(words[2]):,} requests answered, {int(words[1]):,} with an error"
    if done.code == rollout.ERRORS and len(words) == 4:
        _, domain, bad, total = words
        raise Unhealthy(
            f"{addresses.get(domain, domain)}: after the switch {bad} of {total} requests to {domain} ended in a 5xx",
            hint="inv logs --service " + addresses.get(domain, "nginx"),
        )
    if done.code == rollout.ENDED and len(words) == 2:
        raise Unhealthy(
            f"{services.get(words[1], words[1])}: its container {words[1]} ended after the switch", hint="inv logs"
        )
    done.check(site.host.name)
    raise Unhealthy(f"the new release could not be watched: {done.out.strip()}")


def _is_public(site: Site, service: str) -> bool:
    return bool(site.settings.services[service].subdomain)
