"""The sets of a repository, by its ledger."""

import json
from typing import Any

from flotteq_backup import copies, manifest
from flotteq_backup.errors import Failed, Unknown
from flotteq_backup.ledger import Ledger
from flotteq_backup.pace import Pace
from flotteq_backup.restic import Restic
from flotteq_backup.settings import Settings

# Words for a newest set.
NEWEST = ("latest", "base", "pre-deploy")


class Library:
    """What all commands work with: repository, ledger, and what both know of sets."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        key = str(settings.secrets / "restic_password")
        self.store = Restic(settings.name, place=str(settings.repository), key=key, own=True, pace=Pace(settings.duty))
        self.ledger = Ledger(settings.place / "ledger.jsonl")

    def open(self) -> None:
        """Open the repository; make it where there was never one.

        Raises:
            Failed: it is gone with the sets that the ledger names, or it does not open.
        """
        self.require()
        self.store.ensure()

    def require(self) -> None:
        """Refuse to go on beside a repository that is gone: a new one would look as if nothing had happened."""
        known, place = len(self.ledger.sets()), self.settings.repository
        if known and not (place / "config").exists():
            raise Failed(
                f"the repository is gone: there is none in {place.name}/ beside the ledger of {known} sets",
                hint="put it back, or bring sets from a copy: inv backup.fetch; to begin anew move ledger.jsonl away",
            )

    def catch_up(self) -> None:
        """Put manifests into the repository that a quick run left beside it."""
        for path in manifest.waiting(self.settings.place):
            document = json.loads(path.read_text())
            self.ledger.add("manifest", id=document["id"], manifest=manifest.save(self.store, document))
            path.unlink()

    def choose(self, wanted: str, part: str = "") -> dict[str, Any]:
        """A set by id, by the beginning of its id, or the newest verified one: of all, or the base backup.

        Raises:
            Unknown: there is none; those that exist are named.
        """
        self.learn()
        sets = [one for one in self.ledger.sets().values() if not part or part in one["parts"]]
        if wanted == "latest":
            # Not a copy of the cluster, which has a recovery of its own.
            found = [one for one in sets if one.get("verified") and "base" not in one["parts"]]
        elif wanted == "base":
            found = [one for one in sets if one.get("verified") and "base" in one["parts"]]
        elif wanted == "pre-deploy":
            found = [one for one in sets if one.get("verified") and one["reason"].startswith("pre-deploy")]
        else:
            found = [one for one in sets if one["id"].startswith(wanted)]
        if found and (len(found) == 1 or wanted in NEWEST):
            return found[-1]
        known = ", ".join(one["id"] for one in sets[-5:]) or "none"
        what = "no verified set" if wanted in NEWEST else "no set" if not found else "more than one set"
        raise Unknown(f"{what} {wanted}{f' with {part}' if part else ''}", hint=f"the newest: {known}")

    def document(self, entry: dict[str, Any], store: Restic | None = None) -> dict[str, Any]:
        """A set's manifest, from the repository."""
        document = manifest.load(store or self.store, entry["manifest"])
        if document["name"] != self.settings.name:
            raise Unknown(f"set {document['id']} is one of {document['name']}, not of {self.settings.name}")
        for part, one in document["parts"].items():
            # A set that came from another repository has other snapshots here than when it was taken.
            one["snapshot"] = entry["parts"][part]["snapshot"]
        return document

    def learn(self) -> None:
        """Enter sets that the repository has and the ledger does not: it came from another place."""
        self.require()
        self.catch_up()
        known = {one.get("manifest") for one in self.ledger.events()}
        for snapshot in self.store.snapshots("part=manifest"):
            if snapshot["id"] in known:
                continue
            document = manifest.load(self.store, snapshot["id"])
            entry = manifest.entry(document, verified=False, seconds=0)
            known_as = copies.firsts(self.store, f"run={entry['id']}")
            here = {name: id_ for id_, first in known_as.items() for name in (id_, first)}
            parts = entry["parts"].values()
            if all(one["snapshot"] in here for one in parts):
                for one in parts:
                    one["snapshot"] = here[one["snapshot"]]
                self.ledger.add("set", **entry, manifest=snapshot["id"], problem="found in the repository")
