"""Runs in the backup image: corrupts copies of a repository at random, and restores from each as the program does."""

import json
import os
import random
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from flotteq_backup import manifest, restore
from flotteq_backup.errors import Failed
from flotteq_backup.relay import Gate
from flotteq_backup.restic import Restic
from flotteq_backup.settings import DUMP, Settings

WORK = Path("/work")
SETTINGS = Settings(name="trial", place=WORK)
KEY = WORK / "key"


def store_at(repository: Path) -> Restic:
    """A repository without the cache of another one: what is damaged must not be read from elsewhere."""
    cache = str(repository.parent / "cache")
    return Restic("trial", place=str(repository), key=str(KEY), options=(f"--cache-dir={cache}",))


def take(repository: Path, dump: Path) -> str:
    """One set of a dump; the snapshot of its manifest."""
    store = store_at(repository)
    store.ensure()
    saved = store.save_stream(["cat", str(dump)], DUMP, manifest.tags("a", "db"), Gate(b"PGDMP", 512))
    return manifest.save(store, {"id": "a", "name": "trial", "parts": {"db": {**asdict(saved), "path": DUMP}}})


def corrupt(repository: Path, chance: random.Random) -> tuple[str, str]:
    """Flip a bit of a file, cut it, or remove it; which one, and how."""
    files = sorted(one for one in repository.rglob("*") if one.is_file() and "locks" not in one.parts)
    path, how = chance.choice(files), chance.choice(["flip", "cut", "remove"])
    content = bytearray(path.read_bytes())
    path.chmod(0o600)
    if how == "flip":
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
    elif how == "cut":
        path.write_bytes(content[: chance.randrange(len(content))])
    else:
        path.unlink()
    return str(path.relative_to(repository)), how


def trial(number: int, base: Path, snapshot: str, dump: bytes, seed: int) -> dict[str, Any]:
    """Corrupt one copy and restore from it."""
    place = WORK / str(number)
    repository = place / "restic"
    shutil.copytree(base, repository)
    name, how = corrupt(repository, random.Random(seed + number))  # noqa: S311 - a seed that can be repeated
    store, settings = store_at(repository), replace(SETTINGS, place=place)
    try:
        one = manifest.load(store, snapshot)["parts"]["db"]
        with restore.dump_file(settings, store, one, "a") as path:
            ended = "restored" if path.read_bytes() == dump else "RESTORED WRONG"
    except Failed:
        ended = "refused"
    if ended == "restored":
        try:
            store.check(data="100%")
            ended = "NOT SEEN"
        except Failed:
            ended = "restored and seen by the check"
    shutil.rmtree(place)
    return {"number": number, "file": name, "how": how, "ended": ended}


def main(trials: int, seed: int) -> None:
    """Print one line a trial."""
    os.environ.update(TMPDIR="/work", RESTIC_PASSWORD_FILE=str(KEY))
    KEY.write_text("a key")
    dump = b"PGDMP" + random.Random(seed).randbytes(3 << 20)  # noqa: S311 - the same for everybody
    (WORK / "dump").write_bytes(dump)
    base = WORK / "base" / "restic"
    base.parent.mkdir()
    snapshot = take(base, WORK / "dump")
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(lambda number: trial(number, base, snapshot, dump, seed), range(trials)):
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
