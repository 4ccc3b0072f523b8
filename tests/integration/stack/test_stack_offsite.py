"""Copies elsewhere: SFTP as another account, a store that lets nobody delete, a bucket of S3."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.elsewhere import BUCKETS, SERVE, VAULT, bucket, elsewhere
from support.stack import Stack, wait_for

pytestmark = pytest.mark.stack

PLACE = "/var/backups/flotteq"


def listed(stack: Stack) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in json.loads(stack.inv("backup.list", "--json").ok().out)}


def snapshots(stack: Stack, place: str) -> int:
    return int(stack.host(f"ls {place}/snapshots | wc -l").out)


@pytest.fixture(scope="module")
def there(stack: Stack) -> Iterator[str]:
    """Both other repositories; their address."""
    with elsewhere(stack) as address:
        yield address


@pytest.fixture(scope="module")
def copied(stack: Stack, there: str) -> str:
    """A set of everything that is in both."""
    if not listed(stack):
        # An older one, for retention to remove.
        stack.inv("backup.certs").ok()
    taken = json.loads(stack.inv("backup.all", "--json").ok().out)["id"]
    found = json.loads(stack.inv("backup.copy", "--json").ok().out)["copied"]
    assert taken in found["offsite"] and taken in found["vault"]
    return str(taken)


def test_every_verified_set_is_copied_once_and_it_is_known_where(stack: Stack, copied: str) -> None:
    assert sorted(listed(stack)[copied]["copies"]) == ["offsite", "vault"]
    assert "offsite, vault" in stack.inv("backup.list").ok().out
    assert stack.inv("backup.copy").ok().out.count("has every verified set already") == 2
    promised = json.loads(stack.inv("backup.status", "--json").ok().out)["parts"]
    assert {(one["where"], one["kept"]) for one in promised} == {("", True), ("offsite", True), ("vault", True)}
    assert f"set {copied} is whole" in stack.inv("backup.verify", "--copy", "vault", "--set", copied).ok().out


def test_a_copy_that_is_behind_is_said(stack: Stack, copied: str) -> None:
    """The ledger is told that nothing was copied."""
    stack.host(f"cd {PLACE}; cp -p ledger.jsonl ledger.kept; sed -i '/\"copied\"/d' ledger.jsonl")
    try:
        found = json.loads(stack.inv("backup.status", "--json").ended(5).out)["parts"]
        assert {(one["where"], one["kept"]) for one in found} == {("", True), ("offsite", False), ("vault", False)}
        seen = {one["what"]: one["ok"] for one in json.loads(stack.inv("backup.doctor", "--json").out)["findings"]}
        # A broken disk takes no set along that is in a copy: there its own age tells.
        assert (seen["disk"], seen["copies"], seen["db verified"], seen["db in vault"]) == (True, True, True, False)
    finally:
        stack.host(f"mv {PLACE}/ledger.kept {PLACE}/ledger.jsonl")


@pytest.fixture(scope="module")
def removed(stack: Stack, copied: str) -> tuple[int, list[str]]:
    """Sets that retention has removed on the host, and how many snapshots the vault had before."""
    count = snapshots(stack, f"{VAULT}/flotteq")
    stack.host(f"""sed -i '/"{copied}"/!s/"created": "2[0-9-]*T/"created": "2019-01-01T/' {PLACE}/ledger.jsonl""")
    stack.host("cd /opt/flotteq; cp -p .env .env.kept; sed -i \"s/^BACKUP_KEEP=.*/BACKUP_KEEP='1 0 0 0 0'/\" .env")
    try:
        gone = json.loads(stack.inv("backup.prune", "--many", "--json").ok().out)["remove"]
    finally:
        stack.host("cd /opt/flotteq; mv .env.kept .env")
    assert gone
    return count, gone


def test_the_vault_refuses_to_delete_and_retention_here_does_not_need_it_to(
    stack: Stack, there: str, removed: tuple[int, list[str]]
) -> None:
    count, _ = removed
    forget = f"""
      image=$(cd /opt/flotteq; sed -n 's/^BACKUP_IMAGE=//p' .env | tr -d \\"\\')
      docker run --rm --network flotteq_egress -v /opt/flotteq/secrets:/s:ro --entrypoint restic \
        -e RESTIC_REST_USERNAME=vault -e RESTIC_REST_PASSWORD=s3same "$image" --repo rest:http://{there}:8123/flotteq/ \
        --password-file /s/vault_key forget --keep-last 1 --group-by host --prune"""
    refused = stack.host(forget, check=False)
    assert (refused.code, "403" in refused.err + refused.out) == (1, True), refused.err
    assert snapshots(stack, f"{VAULT}/flotteq") == count
    assert stack.inv("backup.copy").ok().out.count("has every verified set already") == 2


def test_a_store_that_does_not_answer_leaves_the_sets_and_the_other_copy_alone(stack: Stack, copied: str) -> None:
    stack.inv("schedule.install").ok()
    stack.host("systemctl stop vault")
    started = time.monotonic()
    try:
        done = stack.inv("schedule.run-now", "backup", timeout=400).ended(1)
        refused = stack.inv("backup.copy", timeout=400).ended(1)
    finally:
        stack.host(SERVE)
        stack.inv("schedule.remove", "--yes").ok()
    assert "is good on the host, but the copy vault failed" in done.err
    assert "the copy vault failed: 172" in refused.err and "inv backup.copy" in refused.err
    assert time.monotonic() - started < 100
    newest = next(iter(listed(stack).values()))
    assert (newest["reason"], newest["verified"], newest["copies"]) == ("scheduled", True, ["offsite"])
    assert "exit code 5" in stack.host("tail -n 20 /opt/flotteq/state/journal.jsonl").out
    wait_for(lambda: stack.inv("backup.copy").code == 0, "the vault to take it")
    assert sorted(listed(stack)[newest["id"]]["copies"]) == ["offsite", "vault"]


def test_another_host_key_is_refused(stack: Stack, copied: str) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAtQ2lXbBzYh0l5bIbqVGM5cVvYwqvYrzGnB2zdfzUdx"
    variables = {"FLOTTEQ__BACKUP__COPIES__OFFSITE__HOST_KEY": key}
    done = stack.inv("backup.copy", "--to", "offsite", variables=variables, timeout=200).ended(1)
    assert "the copy offsite failed" in done.err


def test_a_missing_secret_is_named_before_anything_runs(stack: Stack, copied: str) -> None:
    variables = {"FLOTTEQ__BACKUP__COPIES__VAULT__PASSWORD": "other"}
    assert 'no secret "other"' in stack.inv("backup.copy", variables=variables).ended(2).err
    stack.host("mv /opt/flotteq/secrets/vault_key /root/vault_key")
    try:
        assert "does not have the secrets of the copies: vault_key" in stack.inv("backup.copy").ended(2).err
    finally:
        stack.host("mv /root/vault_key /opt/flotteq/secrets/vault_key")


def test_a_host_that_lost_its_sets_gets_them_back_and_can_restore_them(stack: Stack, copied: str) -> None:
    name = "offsite"
    stack.host(f"mv {PLACE} {PLACE}.kept")
    try:
        assert "no set 19990101" in stack.inv("backup.fetch", "--copy", name, "--set", "19990101").ended(2).err
        assert f"set {copied} is here and whole" in stack.inv("backup.fetch", "--copy", name, "--set", copied).ok().out
        assert json.loads(stack.inv("backup.drill", "--json").ok().out)["parts"] == ["certs", "db", "uploads"]
        # Its identity goes along: it is not copied back as another set.
        stack.inv("backup.copy", "--to", name).ok()
        assert listed(stack)[copied]["copies"] == [name]
    finally:
        stack.host(f"rm -rf {PLACE}; mv {PLACE}.kept {PLACE}")


def test_a_set_that_retention_removed_here_is_listed_and_comes_back(
    stack: Stack, removed: tuple[int, list[str]]
) -> None:
    name = removed[1][-1]
    assert listed(stack)[name]["where"] == ["offsite", "vault"]
    assert "only elsewhere: inv backup.fetch --copy offsite --set" in stack.inv("backup.list").ok().out
    part = next(iter({"db", "uploads", "certs"} & set(listed(stack)[name]["parts"])))
    refused = stack.inv(f"restore.{part}", "--from", name, "--yes").ended(2)
    assert f"inv backup.fetch --copy offsite --set {name}" in refused.err
    asked = json.loads(stack.inv("backup.list", "--copies", "--json").ok().out)
    assert next(one["where"] for one in asked if one["id"] == name) == ["offsite", "vault"]
    stack.inv("backup.fetch", "--copy", "offsite", "--set", name).ok()
    assert listed(stack)[name]["where"] == ["host", "offsite"]


def test_a_bucket_of_s3_takes_sets_and_gives_them_back(stack: Stack, copied: str) -> None:
    with bucket(stack):
        assert copied in json.loads(stack.inv("backup.copy", "--to", "bucket", "--json").ok().out)["copied"]["bucket"]
        assert "config" in stack.host(f"ls {BUCKETS}/fleet-backups").out
        assert f"set {copied} is whole" in stack.inv("backup.verify", "--copy", "bucket", "--set", copied).ok().out
        stack.host(f"mv {PLACE} {PLACE}.kept")
        try:
            stack.inv("backup.fetch", "--copy", "bucket", "--set", copied).ok()
            assert json.loads(stack.inv("backup.drill", "--json").ok().out)["parts"] == ["certs", "db", "uploads"]
        finally:
            stack.host(f"rm -rf {PLACE}; mv {PLACE}.kept {PLACE}")
