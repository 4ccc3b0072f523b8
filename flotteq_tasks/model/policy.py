"""What browsers are told: Content-Security-Policy and Permissions-Policy, built from what an app needs."""

from collections.abc import Mapping, Sequence

# Directives of CSP Level 3 that a response header may have.
DIRECTIVES = (
    "default-src", "script-src", "script-src-elem", "script-src-attr", "style-src", "style-src-elem", "style-src-attr",
    "img-src", "font-src", "connect-src", "media-src", "object-src", "frame-src", "child-src", "worker-src",
    "manifest-src", "base-uri", "form-action", "frame-ancestors",
)  # fmt: skip
KEYWORDS = (
    "'self'", "'none'", "'unsafe-inline'", "'unsafe-eval'", "'wasm-unsafe-eval'", "'unsafe-hashes'", "'strict-dynamic'",
    "'report-sample'",
)  # fmt: skip
# Switched off unless an app asks for them. Chromium complains of names that it does not know.
OFF = (
    "accelerometer", "browsing-topics", "camera", "display-capture", "geolocation", "gyroscope",
    "hid", "magnetometer", "microphone", "midi", "serial", "usb",
)  # fmt: skip
# Left at the browser's default unless an app names them.
FEATURES = (
    *OFF, "autoplay", "clipboard-read", "clipboard-write", "encrypted-media", "fullscreen", "payment",
    "picture-in-picture", "publickey-credentials-get", "screen-wake-lock", "web-share",
)  # fmt: skip
# The edge sends them itself.
OWNED = (
    "Strict-Transport-Security", "Content-Security-Policy", "Content-Security-Policy-Report-Only", "Permissions-Policy",
    "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy", "X-Permitted-Cross-Domain-Policies", "X-Request-Id", "Cache-Control", "Retry-After",
    "Alt-Svc", "Server", "Date", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding",
    "Connection", "Location", "Set-Cookie", "Vary", "Access-Control-Allow-Origin",
)  # fmt: skip

# What can be enforced without knowing what an app loads.
MINIMAL = "base-uri 'self'; object-src 'none'; frame-ancestors 'none'"
# An answer of an API is data: nothing of it is ever run, framed or submitted.
API = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def content_policy(added: Mapping[str, Sequence[str]], origins: Sequence[str]) -> str:
    """Return the Content-Security-Policy of a single-page app: its own files, its APIs, and what it names.

    Args:
        added: sources by directive, on top of the default's.
        origins: hosts of its APIs, with a port where it is not 443.
    """
    https = [f"https://{origin}" for origin in origins]
    sources = {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        # Libraries of React and Vue set style attributes; a style cannot run code.
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:", *https],
        "font-src": ["'self'", "data:"],
        "connect-src": ["'self'", *https, *(f"wss://{origin}" for origin in origins)],
        "worker-src": ["'self'", "blob:"],
        "manifest-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
    for directive, more in added.items():
        # Without its own list a directive takes default-src's, and naming one source would take 'self' away.
        known = sources.get(directive, ["'self'"])
        sources[directive] = list(dict.fromkeys([*(one for one in known if one != "'none'"), *more])) or ["'none'"]
    parts = [f"{directive} {' '.join(values)}" for directive, values in sources.items()]
    return "; ".join([*parts, "upgrade-insecure-requests"])


def permissions_policy(wanted: Sequence[str]) -> str:
    """Return the Permissions-Policy that leaves an app the features it names and switches off what no app needs."""
    features = sorted({*OFF, *wanted})
    return ", ".join(f"{one}=({'self' if one in wanted else ''})" for one in features)
