"""Where and as whom to log in: plain data, no SSH library needed."""

from dataclasses import dataclass, field
from pathlib import Path

from flotteq_tasks.model.secret import Secret


@dataclass(frozen=True, kw_only=True)
class Target:
    """One SSH login.

    Args:
        host: name or address.
        user: login name.
        known_hosts: file with the host keys that are trusted, in OpenSSH's format; nothing else is trusted.
        port: TCP port.
        key_file: private key without a passphrase (one with a passphrase belongs into the agent).
        key_text: private key as text (CI); never written to disk.
        use_agent: offer the keys of ssh-agent.
        usual_keys: offer ``~/.ssh/id_ed25519``, ``id_ecdsa`` and ``id_rsa``, as ssh does.
        jump: log in there first and go on from there.
        sudo: run everything as root with ``sudo -n``; without effect for the user root.
        connect_timeout: seconds until the TCP connection stands.
        keepalive: seconds between two probes that the host must answer.
        dead_after: seconds without a packet after which the connection counts as lost.
        trust_hint: command to paste when the host key is unknown.
        absent: the file that was to say where the host is, when it does not exist.
    """

    host: str
    user: str
    known_hosts: Path
    port: int = 22
    key_file: Path | None = None
    key_text: Secret | None = field(default=None, repr=False)
    use_agent: bool = False
    usual_keys: bool = False
    jump: "Target | None" = None
    sudo: bool = False
    connect_timeout: float = 10
    keepalive: float = 15
    dead_after: float = 30
    trust_hint: str = "inv host.trust"
    absent: str = ""

    @property
    def name(self) -> str:
        """Return how messages call it: ``deploy@203.0.113.7``, with the port where it is not 22."""
        return f"{self.user}@{self.host}" if self.port == 22 else f"{self.user}@{self.host}:{self.port}"

    @property
    def known_as(self) -> str:
        """Return its name in known_hosts: ``host``, or ``[host]:port`` where the port is not 22 (sshd(8))."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"

    @property
    def elevates(self) -> bool:
        """Whether commands need sudo."""
        return self.sudo and self.user != "root"

    @property
    def sudoers_line(self) -> str:
        """Return what the host's sudoers must hold for ``sudo``."""
        return f"{self.user} ALL=(ALL) NOPASSWD: ALL"
