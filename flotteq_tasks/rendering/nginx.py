"""The edge's configuration: settings and the containers that answer, in; the files of ``nginx/`` on the host, out."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from flotteq_tasks.model import policy
from flotteq_tasks.model.certificates import Use, in_use
from flotteq_tasks.model.errors import SettingsError
from flotteq_tasks.model.stack import Settings, Vhost
from flotteq_tasks.rendering import resources, templates
from flotteq_tasks.rendering.hashes import content_hash

if TYPE_CHECKING:
    from jinja2 import Environment

UPSTREAMS = "upstreams/active.conf"
INTERNAL = "servers/01-internal.conf"
# They hold the hash of all other files, or are rendered several times under other names.
_ERROR_PAGE = "pages/error.html.j2"
_PARTS = ("vhosts/opening.j2", "vhosts/proxied.j2")
_SPECIAL = {f"{UPSTREAMS}.j2", f"{INTERNAL}.j2", _ERROR_PAGE, "vhosts/api.conf.j2", "vhosts/web.conf.j2", *_PARTS}


@dataclass(frozen=True)
class EdgeError:
    """An answer of the edge itself. ``retry``: seconds after which a client may ask again; 0 says nothing."""

    code: int
    reason: str
    title: str
    french: str
    english: str
    retry: int = 0


def errors(settings: Settings) -> tuple[EdgeError, ...]:
    """Return what the edge answers itself."""
    waits = settings.edge.timeouts
    return (
        EdgeError(404, "Not Found", "Page introuvable", "Cette page n'existe pas.", "There is no such page."),
        EdgeError(413, "Payload Too Large", "Fichier trop volumineux", "Ce fichier est trop volumineux.",
                  "The request body is too large."),
        EdgeError(429, "Too Many Requests", "Trop de requêtes", "Patientez un instant avant de réessayer.",
                  "Too many requests: wait a moment.", retry=waits.retry_after_limit),
        EdgeError(502, "Bad Gateway", "Service momentanément indisponible",
                  "Le service redémarre. Réessayez dans un instant.",
                  "The service is restarting: try again in a moment.", retry=waits.retry_after_error),
        EdgeError(503, "Service Unavailable", "Maintenance en cours", "Nous revenons dans quelques minutes.",
                  "Maintenance: we will be back in a few minutes.", retry=waits.retry_after_maintenance),
        EdgeError(504, "Gateway Timeout", "Le service met trop de temps à répondre", "Réessayez dans un instant.",
                  "The service took too long to answer: try again.", retry=waits.retry_after_error),
    )  # fmt: skip


@dataclass(frozen=True)
class VirtualHost:
    """One public name.

    Args:
        certificate: link below ``certs/`` to what it is served with.
        hsts: the header's value; empty as long as that is no issued certificate.
        assets: whether files of its previous releases are kept.
        policy: Content-Security-Policy of a web app, enforced unless ``report_only``.
        permissions: Permissions-Policy.
        headers: further headers of its answers.
        upload_paths: where large bodies are taken.
    """

    service: str
    name: str
    kind: Vhost
    certificate: str
    hsts: str
    assets: bool
    policy: str
    report_only: bool
    permissions: str
    headers: Mapping[str, str]
    upload_paths: tuple[str, ...]


def render_edge(
    settings: Settings,
    upstreams: Mapping[str, Sequence[str]],
    *,
    certificates: Mapping[str, str],
    release: str = "",
    draining: bool = False,
) -> dict[str, bytes]:
    """Render the whole set. Equal input gives equal bytes.

    Args:
        upstreams: names of the containers that answer, by service; a service without any is asked by its own name.
        certificates: what the links below ``certs/`` lead to (``Facts.certificates``). Browsers are told to insist on
            TLS only where an issued one is in use: with the placeholder that would lock people out.
        release: id of the release that the containers belong to, for readers of ``upstreams/active.conf``.
        draining: the container is about to be replaced: connections end with their request.

    Returns:
        content by path relative to ``nginx/``.

    Raises:
        SettingsError: a value that would break the configuration, or a broken template of the user's.
    """
    _refuse_unused(settings)
    env = templates.environment(resources.search_path(settings.root, "nginx"))
    vhosts = _virtual_hosts(settings, in_use(settings, certificates))
    values = {**_values(settings, vhosts), "draining": draining}
    files = {name.removesuffix(".j2"): content for name, content in _plain(settings, env, values)}
    for vhost in vhosts:
        files[f"servers/{vhost.service}.conf"] = templates.render(
            env, f"vhosts/{vhost.kind}.conf.j2", vhost=vhost, **values
        )
    for error in errors(settings):
        files[f"pages/{error.code}.html"] = templates.render(env, _ERROR_PAGE, error=error, **values)
    files[INTERNAL] = _stamped(env, INTERNAL, files, **values)
    files[UPSTREAMS] = _upstreams(env, settings, upstreams, release)
    return dict(sorted(files.items()))


def render_upstreams(settings: Settings, upstreams: Mapping[str, Sequence[str]], *, release: str = "") -> bytes:
    """Render ``upstreams/active.conf`` alone: the switch of a deploy changes this file only.

    Raises:
        SettingsError: a name that would break the configuration.
    """
    env = templates.environment(resources.search_path(settings.root, "nginx"))
    return _upstreams(env, settings, upstreams, release)


def generation(files: Mapping[str, bytes]) -> str:
    """Return what ``/healthz`` answers once nginx runs this rendered set: hash of the edge, hash of its upstreams.

    Args:
        files: a rendered set; of it only the internal server and the upstreams are read.

    Raises:
        SettingsError: a template of the user's lost the line that names its generation.
    """
    return f"{_stamp(files, INTERNAL)}-{_stamp(files, UPSTREAMS)}"


def own_template(settings: Settings, path: str) -> str:
    """Return the project's own template behind a rendered file, ``nginx/vhosts/web.conf.j2``; empty: a delivered one.

    Args:
        path: relative to ``nginx/``, as in the rendered set.
    """
    service = path.removeprefix("servers/").removesuffix(".conf")
    if service in settings.public:
        names = [f"vhosts/{settings.services[service].vhost}.conf.j2", *_PARTS]
    else:
        names = [_ERROR_PAGE] if path.startswith("pages/") else [f"{path}.j2", path]
    places = resources.search_path(settings.root, "nginx")
    own = places[0] if len(places) > 1 else None
    return next((f"nginx/{name}" for name in names if own and (own / name).is_file()), "")


def _stamp(files: Mapping[str, bytes], name: str) -> str:
    found = re.match(rb"# generation ([0-9a-f]+)\n", files[name])
    if not found:
        raise SettingsError(f"nginx/{name}.j2 must begin with the line: # generation {{{{ generation | word }}}}")
    return found.group(1).decode()


def _refuse_unused(settings: Settings) -> None:
    """A file under another name than the delivered one would have no effect, and nobody would notice."""
    for name in resources.unused(settings.root, "nginx"):
        if name.endswith((".conf", ".j2", ".html")):
            near = get_close_matches(name, resources.names("nginx"), n=1)
            raise SettingsError(
                f"nginx/{name}: replaces no template" + (f', did you mean "nginx/{near[0]}"?' if near else ""),
                hint="inv nginx.render lists the files of the edge",
            )


def _plain(settings: Settings, env: "Environment", values: Mapping[str, object]) -> Iterator[tuple[str, bytes]]:
    for name in resources.names("nginx"):
        if name in _SPECIAL:
            continue
        if name.endswith(".j2"):
            yield name, templates.render(env, name, **values)
        else:
            yield name, resources.find(settings.root, "nginx", name).read_bytes()


def _values(settings: Settings, vhosts: Sequence[VirtualHost]) -> dict[str, object]:
    suffix = _port_suffix(settings)
    return {
        "project": settings.project,
        "edge": settings.edge,
        "timeouts": settings.edge.timeouts,
        "sizes": settings.edge.sizes,
        "limits": settings.limits,
        # So many seconds pass until one more is let through.
        "login_wait": math.ceil(60 / settings.limits.login_rate),
        "deploy": settings.deploy,
        "vhosts": vhosts,
        "errors": errors(settings),
        "api_policy": policy.API,
        "minimal_policy": policy.MINIMAL,
        "https_port_suffix": suffix,
        "origins": [f"https://{vhost.name}{suffix}" for vhost in vhosts if vhost.kind == "web"],
    }


def _virtual_hosts(settings: Settings, used: Mapping[str, Use]) -> list[VirtualHost]:
    apis = [
        f"{name}{_port_suffix(settings)}"
        for service, name in settings.public.items()
        if settings.services[service].vhost == "api"
    ]
    return [_virtual_host(settings, service, name, apis, used[name]) for service, name in settings.public.items()]


def _virtual_host(settings: Settings, service: str, name: str, apis: list[str], used: Use) -> VirtualHost:
    spec = settings.services[service]
    return VirtualHost(
        service,
        name,
        spec.vhost,
        certificate=used.lineage.link,
        hsts=_hsts(settings, name) if used.issued else "",
        assets=bool(spec.assets),
        policy=policy.content_policy(spec.public.csp, apis) if spec.vhost == "web" else policy.API,
        report_only=spec.public.csp_report_only,
        permissions=policy.permissions_policy(spec.public.permissions),
        headers=spec.public.headers,
        upload_paths=spec.public.upload_paths,
    )


def _port_suffix(settings: Settings) -> str:
    return "" if settings.edge.https_port == 443 else f":{settings.edge.https_port}"


def _hsts(settings: Settings, name: str) -> str:
    # At the domain itself includeSubDomains would bind names that this edge does not serve.
    rest = "" if name == settings.project.domain else "; includeSubDomains"
    return f"max-age={settings.limits.hsts_seconds}{rest}"


def _upstreams(env: "Environment", settings: Settings, upstreams: Mapping[str, Sequence[str]], release: str) -> bytes:
    rows = [
        (service, settings.services[service].port, list(upstreams.get(service) or [service]))
        for service in settings.public
    ]
    values = {"sizes": settings.edge.sizes, "timeouts": settings.edge.timeouts}
    return _stamped(env, UPSTREAMS, {}, upstreams=rows, release=release, **values)


def _stamped(env: "Environment", name: str, others: Mapping[str, bytes], **values: object) -> bytes:
    """Render a file that holds the hash of others and of itself without that hash."""
    unstamped = templates.render(env, f"{name}.j2", generation="0", **values)
    return templates.render(env, f"{name}.j2", generation=content_hash({**others, name: unstamped}), **values)
