"""The edge beside the same nginx with its stock configuration: requests and new TLS connections a second.

    .venv/bin/python benchmarks/edge.py            # needs the sandbox: README.md here

h2load runs in a container beside the sandbox host and takes turns between the two, on the same cores. The stock nginx
is of the live edge's image, has its certificate, the same assets on its disk, and the same backend behind it.
"""

import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from ground import RAISED, ROOT, Ground, arguments, ground, say, table

from flotteq_tasks.commands.shell import Command, script
from flotteq_tasks.operations.context import Site
from flotteq_tasks.operations.sandbox import lifecycle
from flotteq_tasks.operations.sandbox.names import DEFAULT_INSTANCE

sys.path.insert(0, str(ROOT / "tests"))
from support.graders import Graders, graders

PORT, NAME, PLACE = 8446, "bench-stock", "/tmp/bench-stock"  # noqa: S108 - on the sandbox host
LIMIT = 120
UNLIMITED = {
    **RAISED,
    **{f"FLOTTEQ__LIMITS__{name}_CONNECTIONS": "5000" for name in ("API", "WEB", "ASSET")},
}
# Requests, connections, and streams on each: an asset, an answer of the API, a connection for each request. The stock
# nginx ends a connection after a thousand requests, which h2load takes for failures.
LOADS = {"asset": (15_000, 16, 16), "API": (3_000, 8, 4), "connections": (400, 400, 1)}

_STOCK = """server {
    listen 443 ssl;
    http2 on;
    ssl_certificate /certs/fullchain.pem;
    ssl_certificate_key /certs/privkey.pem;
    location /assets/ { root /srv; }
    location / { proxy_pass http://BACKEND; }
}
"""
_START = """
place=$1 directory=$2 name=$3 image=$4 port=$5 app=$6; shift 6
mkdir -p "$place/conf" "$place/srv"
cat >"$place/conf/default.conf"
cp -rL "$directory/certs/current" "$place/certs"
cp -r "$directory/assets/$app/." "$place/srv"
chmod -R a+rX "$place"
docker create --rm --name "$name" --publish "$port:443" --volume "$place/conf:/etc/nginx/conf.d:ro" \
  --volume "$place/certs:/certs:ro" --volume "$place/srv:/srv:ro" "$image"
for network; do docker network connect "$network" "$name"; done
docker start "$name"
"""

# The smallest above 8 KiB: how fast bytes are copied is not asked.
_ASSET = 'cd "$1/assets/$2/assets" && find . -type f -name "*.js" -size +8k -printf "%s %P\\n" | sort -n | head -n 1'
_REMOVE = 'docker rm -f "$1" >/dev/null 2>&1 || true; rm -rf "$2"'
_NETWORKS = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}"


@contextmanager
def stock(site: Site, app: str) -> Iterator[None]:
    """The same nginx as it comes, beside the edge."""
    settings = site.settings
    facts = site.engine.facts()
    [edge] = facts.of(settings.of_kind("edge")[0])
    api = next(name for name in settings.public if settings.services[name].vhost == "api")
    backend = facts.of(api)[0].name
    networks = site.host.run(Command("docker", "inspect", "--format", _NETWORKS, edge.id)).out.split()
    text = _STOCK.replace("BACKEND", f"{backend}:{settings.services[api].port}")
    start = script(_START, PLACE, str(settings.directory), NAME, edge.image, PORT, app, networks)
    site.host.run(script(_REMOVE, NAME, PLACE))
    try:
        site.host.run(start, stdin=text.encode(), timeout=LIMIT)
        yield
    finally:
        site.host.run(script(_REMOVE, NAME, PLACE))


def asked(tools: Graders, load: str, url: str, port: int) -> float:
    """Requests a second that were answered; not one may fail."""
    total, clients, streams = LOADS[load]
    to = f"--connect-to={tools.address}:{port}"
    words = ("h2load", "-n", str(total), "-c", str(clients), "-m", str(streams), to, url)
    done = tools.run(*words, limit=LIMIT)
    rate = re.search(r"([\d.]+) req/s", done.stdout)
    good = re.search(r"(\d+) 2xx", done.stdout)
    if not rate or not good or int(good[1]) != total:
        raise SystemExit(f"{' '.join(words)}:\n{done.stdout}{done.stderr}")
    return float(rate[1])


def urls(stand: Ground, site: Site) -> tuple[str, dict[str, str]]:
    """The app whose asset is asked for, and what each load asks for."""
    settings = stand.settings
    app = next(name for name in settings.public if settings.services[name].assets)
    api = next(name for name in settings.public if settings.services[name].vhost == "api")
    listed = site.host.run(script(_ASSET, str(settings.directory), app)).out.split()
    asset = f"https://{settings.domain(app)}/assets/{listed[1]}"
    health = f"https://{settings.domain(api)}{settings.services[api].health.path}"
    return app, {"asset": asset, "API": health, "connections": asset}


def main() -> None:
    """Measure in turns and print."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    usual = ground(options)
    stand = usual.given(UNLIMITED)
    lifecycle.prepare(ROOT, say)
    tools = graders(DEFAULT_INSTANCE, stand.settings.root / stand.settings.acme.root_file, say)
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    version = stand.live()
    stand.inv("deploy", "--version", version, "--skip-backup", "--soak", "0")
    try:
        with stand.site() as site:
            app, wanted = urls(stand, site)
            with stock(site, app):
                for turn in range(1, options.rounds + 1):
                    for load, url in wanted.items():
                        for way, port in (("edge", 443), ("stock", PORT)):
                            found[load, way].append(asked(tools, load, url, port))
                    figures = (f"{' '.join(key)} {values[-1]:.0f}" for key, values in found.items())
                    say(f"{turn}/{options.rounds}  {', '.join(figures)}")
    finally:
        usual.inv("deploy", "--version", version, "--skip-backup", "--soak", "0")
    print(table(*rows({key: statistics.median(values) for key, values in found.items()})))


def rows(of: dict[tuple[str, str], float]) -> list[tuple[str, ...]]:
    """The table: a row for each load."""
    found = [("load", "edge", "stock", "edge / stock", "bar")]
    for load in LOADS:
        ours, theirs = of[load, "edge"], of[load, "stock"]
        bar = "≥ 0.9" if load != "connections" else ""
        found.append((load, f"{ours:,.0f}/s", f"{theirs:,.0f}/s", f"{ours / theirs:.2f}", bar))
    return found


if __name__ == "__main__":
    main()
