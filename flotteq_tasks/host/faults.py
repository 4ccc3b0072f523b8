"""What can happen to a connection, for the host layer's own use: nothing here needs an SSH library."""


class LostError(Exception):
    """The connection is gone.

    Args:
        started: whether a command was sent, so that nobody knows how it ended.
    """

    def __init__(self, *, started: bool) -> None:
        super().__init__("connection lost")
        self.started = started


class BusyError(Exception):
    """The server refuses one more session on this connection (MaxSessions)."""
