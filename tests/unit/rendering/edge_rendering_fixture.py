"""Settings for the rendering tests, and the golden files made from them.

Run ``python tests/unit/rendering/edge_rendering_fixture.py`` after an intended change and read the difference.
"""

from pathlib import Path

from flotteq_tasks.model.edge import Limits
from flotteq_tasks.model.stack import DeploySettings, HostSettings, Project, Registry, Service, Settings
from flotteq_tasks.rendering.nginx import render_edge

GOLDEN = Path(__file__).parent / "golden"
# One certificate with all names.
ISSUED = {"current": "rel-1"}
UPSTREAMS = {"core": ["fleet-core-7", "fleet-core-8"], "shop": ["fleet-shop-2"]}


def fixture(limits: Limits | None = None, root: Path = Path("/nowhere")) -> Settings:
    """An API below a subdomain, an app at the domain itself and one below a subdomain; names that are not FlotteQ's."""
    return Settings(
        project=Project(name="fleet", domain="fleet.example"),
        host=HostSettings(address="fleet.example"),
        registry=Registry(server="registry.invalid"),
        services={
            "store": Service(kind="stateful", image="store:1", port=5432),
            "core": Service(kind="rolling", image="core", port=4000, subdomain="rpc", vhost="api"),
            "home": Service(kind="rolling", image="home", port=8080, subdomain="@"),
            "shop": Service(kind="rolling", image="shop", port=80, subdomain="shop", assets="/html/assets"),
            "front": Service(kind="edge", image="nginx:1.30"),
        },
        limits=limits
        or Limits(
            api_rate=7, api_burst=11, web_rate=13, web_burst=17, upload_mb=19, api_connections=23, web_connections=31
        ),
        deploy=DeploySettings(drain=29),
        root=root,
    )


if __name__ == "__main__":
    for path, content in render_edge(fixture(), UPSTREAMS, certificates=ISSUED, release="r-42").items():
        target = GOLDEN / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
