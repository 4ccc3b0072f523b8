"""What the program's commands take."""

import argparse

from flotteq_backup.copies import Copy
from flotteq_backup.settings import PARTS


def parser() -> argparse.ArgumentParser:
    """What the commands take."""
    top = argparse.ArgumentParser(prog="flotteq-backup", description="Take, verify and restore sets of backups.")
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="take a set")
    run.add_argument("part", nargs="+", choices=PARTS)
    run.add_argument("--reason", default="manual")
    run.add_argument("--keep-days", type=int, default=0)
    run.add_argument("--quick", action="store_true", help="before a deploy: the database alone, not read back")
    volume = commands.add_parser("run-volume", help="take a set of one directory")
    volume.add_argument("part")
    volume.add_argument("--place", default="/src/volume")
    volume.add_argument("--reason", default="manual")
    volume.add_argument("--keep-days", type=int, default=0)
    base = commands.add_parser("base", help="take a set of the whole cluster, for recovery to a moment")
    base.add_argument("--reason", default="manual")
    base.add_argument("--keep-days", type=int, default=0)
    log = commands.add_parser("wal", help="store the received log")
    copy = commands.add_parser("copy", help="copy verified sets to other repositories")
    fetch = commands.add_parser("fetch", help="bring a set back from another repository")
    fetch.add_argument("id", nargs="?", default="latest")
    verify = commands.add_parser("verify", help="read a set back and check the repository")
    verify.add_argument("id", nargs="?", default="latest")
    verify.add_argument(
        "--data", default="", help="read this part of all data, such as 1/7 or 100%%; weekday: today's seventh"
    )
    away = commands.add_parser("elsewhere", help="say which sets other repositories have")
    for command in (run, base, log, copy, fetch, verify, away):
        command.add_argument("--to", type=Copy.read, action="append", default=[], help="another repository, as JSON")
    for name, words in (
        ("restore-tree", "restore files"), ("undo-tree", "take a restore of files back"),
        ("finish-tree", "end a restore of files that was cut off"),
    ):  # fmt: skip
        tree = commands.add_parser(name, help=words)
        tree.add_argument("part")
        tree.add_argument("--place", default="/restore")
        if name == "restore-tree":
            tree.add_argument("id")
    prune = commands.add_parser("prune", help="remove the sets that retention does not keep")
    prune.add_argument("--dry-run", action="store_true")
    prune.add_argument("--many", action="store_true")
    trial = commands.add_parser("drill", help="restore a set where nobody uses it")
    trial.add_argument("id", nargs="?", default="latest")
    beside = commands.add_parser("restore-db", help="restore a database beside the live one")
    beside.add_argument("id")
    beside.add_argument("--target", required=True)
    back = commands.add_parser("recover-db", help="restore a database as it was at a moment beside the live one")
    back.add_argument("--to", required=True, help="ISO 8601 with an offset")
    back.add_argument("--target", required=True)
    return top
