"""The edge as data: what it may do, what it sends, how long it waits. Each default's reason is in docs/SETTINGS.md."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FORBID_UNKNOWN = {"extra": "forbid", "str_strip_whitespace": True}


@dataclass(frozen=True)
class EdgeTimeouts:
    """``[edge.timeouts]``: seconds. Towards browsers, towards the apps, and what clients are told to wait."""

    __pydantic_config__ = FORBID_UNKNOWN

    client_header: int = 10
    client_body: int = 30
    client_send: int = 30
    keepalive: int = 65
    keepalive_min: int = 5
    connect: int = 3
    send: int = 30
    read: int = 60
    websocket: int = 3600
    retry: int = 10
    upstream_keepalive: int = 4
    upstream_fail: int = 2
    dns: int = 2
    dns_valid: int = 1
    tls_session: int = 86_400
    retry_after_limit: int = 1
    retry_after_error: int = 5
    retry_after_maintenance: int = 60


@dataclass(frozen=True)
class EdgeSizes:
    """``[edge.sizes]``: memory, counts and files of nginx."""

    __pydantic_config__ = FORBID_UNKNOWN

    worker_connections: int = 4096
    open_files: int = 16_384
    keepalive_requests: int = 10_000
    headers: int = 100
    header_buffers: int = 4
    header_kb: int = 16
    body_buffer_kb: int = 128
    proxy_buffers: int = 8
    proxy_buffer_kb: int = 16
    upstream_connections: int = 32
    upstream_zone_kb: int = 256
    limit_zone_mb: int = 10
    tls_session_mb: int = 10
    gzip_level: int = 5
    gzip_bytes: int = 1024
    cache_mb: int = 256
    cache_days: int = 30


@dataclass(frozen=True)
class EdgeSettings:
    """``[edge]``: where browsers reach the stack, and how. ``address = ""`` means: ask DNS.

    ``trusted_proxies`` are the networks of a CDN or load balancer in front: what they write into ``client_header`` is
    believed. ``ipv6_subnet`` gives the edge's container an IPv6 address; empty: it has none.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    address: str = ""
    http_port: int = 80
    https_port: int = 443
    tls: Literal["intermediate", "modern"] = "intermediate"
    http3: bool = False
    ipv6_subnet: str = ""
    trusted_proxies: tuple[str, ...] = ()
    client_header: str = "X-Forwarded-For"
    timeouts: EdgeTimeouts = field(default_factory=EdgeTimeouts)
    sizes: EdgeSizes = field(default_factory=EdgeSizes)


@dataclass(frozen=True)
class Limits:
    """``[limits]``: what one client address may do at the edge.

    Rates are requests per second, ``login_rate`` is per minute and counts POST requests whose path ends like one of
    ``login_paths``.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    api_rate: int = 10
    api_burst: int = 40
    web_rate: int = 20
    web_burst: int = 40
    upload_burst: int = 160
    login_rate: int = 10
    login_burst: int = 5
    login_paths: tuple[str, ...] = ("/login", "/register", "/forgot-password", "/reset-password")
    body_mb: int = 1
    upload_mb: int = 50
    api_connections: int = 100
    web_connections: int = 100
    asset_connections: int = 500
    hsts_seconds: int = 63_072_000


@dataclass(frozen=True)
class PublicSettings:
    """``[services.NAME.public]``: what browsers are told and may send at the service's public name.

    Args:
        permissions: browser features that the app may use; the others are switched off.
        csp: sources added to the default Content-Security-Policy, by directive.
        csp_report_only: browsers report what the policy would block, and block nothing.
        headers: further response headers.
        upload_paths: where bodies up to ``limits.upload_mb`` are taken, with ``vhost = "api"``.
    """

    __pydantic_config__ = FORBID_UNKNOWN

    permissions: tuple[str, ...] = ()
    csp: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    csp_report_only: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    upload_paths: tuple[str, ...] = ("/",)
