"""Command lines of the Docker CLI."""

from collections.abc import Iterable, Mapping

from flotteq_tasks.commands.shell import Command

# For scripts that no signal ends: `engine SECONDS WORDS`. An engine may never answer, for one container that the kernel
# kills again and again or for all; and a client that has been told to end may wait for it all the same: it is killed.
# Descriptor 9 is the script's lock, which must not outlive the script.
ENGINE = """
engine() { seconds=$1; shift; timeout --kill-after=1 "$seconds" docker "$@" 9>&-; }
"""


def inspect(*names: str, format: str = "{{json .}}") -> Command:
    """Describe containers, images or volumes, one JSON document a line."""
    return Command("docker", "inspect", "--format", format, names)


def image_inspect(*references: str, format: str = "{{json .}}") -> Command:
    """Describe images, one JSON document a line."""
    return Command("docker", "image", "inspect", "--format", format, references)


def push(reference: str) -> Command:
    """Send an image to its registry."""
    return Command("docker", "push", reference)


def remove(ids: Iterable[str]) -> Command:
    """Remove containers, running or not."""
    return Command("docker", "rm", "--force", ids)


def users(volume: str) -> Command:
    """Services of the running containers that have a volume, one a line."""
    label = '{{.Label "com.docker.compose.service"}}'
    return Command("docker", "ps", "--filter", f"volume={volume}", "--format", label)


def volume_create(name: str, labels: Mapping[str, str]) -> Command:
    """Create a named volume; nothing happens where it exists."""
    return Command("docker", "volume", "create", [f"--label={key}={value}" for key, value in labels.items()], name)


def build(
    context: str,
    *,
    dockerfile: str,
    tags: Iterable[str],
    args: Mapping[str, str],
    labels: Mapping[str, str],
    ca_bundle: str = "",
    platform: str = "",
) -> Command:
    """Build an image with BuildKit and load it into the engine.

    Args:
        ca_bundle: path of a file passed as the build secret ``ca_bundle``; it never becomes part of the image.
    """
    return Command(
        "docker", "buildx", "build", "--load", "--progress", "plain",
        "--file", dockerfile,
        [f"--tag={name}" for name in tags],
        [f"--build-arg={key}={value}" for key, value in sorted(args.items())],
        [f"--label={key}={value}" for key, value in sorted(labels.items())],
        ["--secret", f"id=ca_bundle,src={ca_bundle}"] if ca_bundle else [],
        ["--platform", platform] if platform else [],
        context,
    )  # fmt: skip


def login(server: str, username: str) -> Command:
    """Log in to a registry; the password is read from standard input."""
    return Command("docker", "login", "--username", username, "--password-stdin", server)


def manifest(reference: str) -> Command:
    """Ask a registry whether it has an image; works without TLS where the engine allows it."""
    return Command("docker", "manifest", "inspect", "--insecure", reference)
