"""What the demo tells at its end can be pasted."""

import pytest
from unit_support import fleet

from flotteq_tasks.model.edge import EdgeSettings
from flotteq_tasks.model.stack import Acme
from flotteq_tasks.operations.sandbox import demo


@pytest.mark.parametrize(
    ("edge", "line"),
    [
        (EdgeSettings(address="127.0.0.1"), "curl --cacert root.pem https://api.fleet.example/health"),
        (
            EdgeSettings(address="127.0.0.5", https_port=8443),
            "curl --cacert root.pem --connect-to ::127.0.0.5: https://api.fleet.example:8443/health",
        ),
    ],
)
def test_the_first_address_is_asked_at_the_port_that_is_free(edge: EdgeSettings, line: str) -> None:
    assert demo._trust(fleet(edge=edge, acme=Acme(root_file="root.pem")))[0] == line
