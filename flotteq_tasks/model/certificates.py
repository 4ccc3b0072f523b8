"""Which certificate a public name has: decided here, for whoever orders, renews, renders or compares."""

from collections.abc import Mapping
from dataclasses import dataclass

from flotteq_tasks.model.stack import Layout, Settings

# Below certs/: the link to the certificate of all names, or to the placeholder while there is none.
SHARED = "current"
# Below it each certificate of one name has a directory of its own.
NAMES = "names"
PLACEHOLDER = "placeholder"


@dataclass(frozen=True)
class Lineage:
    """One certificate and those that renew it.

    Args:
        certificate: what certbot calls it; it lies in ``live/<certificate>``.
        place: its directory below ``certs/``; empty: ``certs/`` itself.
        names: the public names that it is for.
    """

    certificate: str
    place: str
    names: tuple[str, ...]

    @property
    def link(self) -> str:
        """By what nginx reads it, below ``certs/``."""
        return f"{self.place}/{SHARED}" if self.place else SHARED


@dataclass(frozen=True)
class Use:
    """What a name is served with: ``issued`` by an authority, or the placeholder."""

    lineage: Lineage
    issued: bool


def is_issued(target: str) -> bool:
    """Whether a link below ``certs/`` with this target leads to an issued certificate."""
    return target.startswith("rel-")


def lineages(settings: Settings, layout: Layout | None = None) -> list[Lineage]:
    """The certificates of a layout, by default that of the settings, in the order of flotteq.toml: the first is always.

    This is all that the layouts differ in.
    """
    names = tuple(settings.public.values())
    if (layout or settings.acme.layout) == "one":
        return [Lineage(settings.project.name, "", names)]
    return [Lineage(name, f"{NAMES}/{name}", (name,)) for name in names]


def other_layout(settings: Settings) -> Layout:
    """The layout that was chosen before, if any was."""
    return "each" if settings.acme.layout == "one" else "one"


def all_issued(settings: Settings) -> dict[str, str]:
    """What the links lead to once every name has its certificate."""
    return {one.link: "rel-" for one in lineages(settings)}


def in_use(settings: Settings, links: Mapping[str, str]) -> dict[str, Use]:
    """What every public name is served with: the certificate of the layout, until there is one that of the other.

    So a change of the layout takes no certificate from a name. A name without any gets what ``certs/current`` leads to,
    which always exists: nginx starts.

    Args:
        links: target by link below ``certs/`` (``Facts.certificates``).
    """
    shared, *_ = lineages(settings, "one")
    single = {one.certificate: one for one in lineages(settings, "each")}
    found = {}
    for name in settings.public.values():
        wanted = [shared, single[name]] if settings.acme.layout == "one" else [single[name], shared]
        chosen = next((one for one in wanted if is_issued(links.get(one.link, ""))), None)
        found[name] = Use(chosen or shared, chosen is not None)
    return found


def left_over(settings: Settings, links: Mapping[str, str]) -> list[str]:
    """Links to issued certificates that no public name is served with."""
    used = {one.lineage.link for one in in_use(settings, links).values()}
    return [link for link, target in links.items() if is_issued(target) and link not in used]
