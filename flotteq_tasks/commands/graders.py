"""Graders that others wrote, in a container on this machine, and what they are asked."""

from collections.abc import Mapping, Sequence

from flotteq_tasks.commands.shell import Command

# In the image: sandbox/graders/Dockerfile.
ROOTS = "/ca.pem"
_SSLYZE = "/opt/sslyze/bin/sslyze"
_OBSERVATORY = "/observatory/node_modules/@mdn/mdn-http-observatory/src/scan.js"
# testssl.sh's exit code counts findings, and its JSON goes to a file alone.
_TESTSSL = 'testssl --quiet --color 0 --jsonfile /tmp/found "$@" >&2; cat /tmp/found'
# What sslyze compares with: the profile that it has itself, and the file of the image.
GUIDELINES = {
    "mozilla-5.7": "--mozilla_config=intermediate",
    "mozilla-6.0": "--custom_tls_config=/mozilla-6.0.json",
}


def grader(
    image: str, words: Sequence[str], *, limit: int, addresses: Mapping[str, str] | None = None, roots: str = ""
) -> Command:
    """One grader in a container that is gone afterwards; it reaches what this machine reaches.

    Args:
        limit: seconds, counted in the container: one whose client was killed ends, too.
        addresses: where names are, instead of what DNS says.
        roots: a file here with authorities to trust besides the usual ones.
    """
    names = [f"--add-host={name}:{address}" for name, address in (addresses or {}).items()]
    trust = [f"--volume={roots}:{ROOTS}:ro", f"--env=NODE_EXTRA_CA_CERTS={ROOTS}"] if roots else []
    return Command(
        "docker", "run", "--rm", "--init", "--network=host", names, trust, image, "timeout", str(limit), words
    )  # fmt: skip


def testssl(domain: str, port: int, *, address: str = "", roots: str = "") -> list[str]:
    """Everything that testssl.sh looks at; its findings as JSON on standard output.

    Args:
        address: instead of the first that DNS has.
        roots: path in the container of further authorities.
    """
    trust = ["--add-ca", roots] if roots else []
    return ["sh", "-c", _TESTSSL, "testssl", *trust, "--ip", address or "one", f"{domain}:{port}"]


def sslyze(guideline: str, names: Sequence[str], *, roots: str = "") -> list[str]:
    """Compare names (``HOST:PORT``) with one of ``GUIDELINES``."""
    trust = [f"--certinfo_ca_file={roots}"] if roots else []
    return [_SSLYZE, *trust, GUIDELINES[guideline], *names]


def observatory(page: str) -> list[str]:
    """The MDN HTTP Observatory's scan of a page (``HOST/PATH``), at the usual ports."""
    return ["node", _OBSERVATORY, page]


def csp_evaluator(policy: str) -> list[str]:
    """What csp_evaluator finds in a Content-Security-Policy, as JSON."""
    return ["node", "/observatory/csp.mjs", policy]
