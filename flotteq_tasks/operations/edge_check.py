"""Let nginx judge a rendered set before any of its files takes an old one's place.

The edge reads its directory whenever it starts: files that nginx refuses must not lie there, not even for a moment.
"""

import re
from hashlib import sha256

from flotteq_tasks.commands import nginx
from flotteq_tasks.host.base import File
from flotteq_tasks.model.errors import PreflightFailed
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.operations import edge_files
from flotteq_tasks.operations.context import Site
from flotteq_tasks.rendering.nginx import own_template, render_edge

LIMIT = 60


def check(site: Site, facts: Facts, name: str) -> None:
    """Check today's templates and settings with the image of the edge that runs; without one nothing can be broken.

    What nginx has accepted before is not asked again.

    Args:
        name: part of the names of the container and the directory that are used and removed; one for each caller.

    Raises:
        PreflightFailed: nginx refuses them; its words are in the details.
    """
    service = site.settings.of_kind("edge")[0]
    edge = next((one for one in facts.of(service) if one.running), None)
    release = facts.active_release or edge_files.NONE
    files = render_edge(site.settings, edge_files.serving(facts), certificates=facts.certificates, release=release)
    if edge is None or not _differs(files, facts):
        return
    place = f"{site.state}/edge.{name}"
    container = f"{site.settings.project.name}-{service}-{name}"
    judge = nginx.try_out(edge.id, place, name=container)
    placed = {path: File(content) for path, content in files.items()}
    done = site.host.write_tree(place, placed, then=[judge], timeout=LIMIT, check=False)[-1]
    if not done.ok:
        said = (done.err.strip() or done.out.strip()).splitlines()
        raise PreflightFailed(
            f"nginx refuses {_culprit(site, said)}; nothing was changed" + (f": {said[-1]}" if len(said) == 1 else ""),
            hint="inv nginx.render --output /tmp/edge writes the files here, to look at",
            details="\n".join(said[-20:]),
        )


def _culprit(site: Site, said: list[str]) -> str:
    """Name the project's own template behind the line that nginx names, else the whole."""
    paths = re.findall(rf"\[emerg\].* in {nginx.PLACE}/(\S+):[0-9]+$", "\n".join(said), re.MULTILINE)
    own = own_template(site.settings, paths[0]) if paths else ""
    return f"what {own} gives" if own else "the edge's configuration as it would be"


def _differs(files: dict[str, bytes], facts: Facts) -> bool:
    """Whether the host has other files; those in ``state/`` are the host's own."""
    wanted = {path: content for path, content in files.items() if not path.startswith("state/")}
    return any(facts.edge_files.get(f"nginx/{path}") != sha256(content).hexdigest() for path, content in wanted.items())
