"""The overlay that tells the settings loader where the sandbox is."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

# Set by people behind a proxy that opens TLS; the first that names a file counts.
_CA_VARIABLES = ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

Value = str | int | bool | list[str]


def ca_bundle(environment: Mapping[str, str] = os.environ) -> str:
    """Return the CA bundle that builds need on this machine, or an empty string."""
    named = (environment.get(variable, "") for variable in _CA_VARIABLES)
    return next((path for path in named if path and Path(path).is_file()), "")


def to_toml(tables: Mapping[str, Mapping[str, Value]]) -> str:
    """Return tables of plain values and lists as TOML, in their order; empty tables are left out."""
    blocks = []
    for name, values in tables.items():
        # A JSON string, number, boolean or array of them is the same in TOML.
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
        if lines:
            blocks.append("\n".join([f"[{name}]", *lines]))
    return "\n\n".join(blocks) + "\n"
