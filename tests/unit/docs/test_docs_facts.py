"""What the documents say of the code: links, exit codes, steps, hooks and their variables."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from unit_support import fleet

from flotteq_tasks.model.errors import ExitCode
from flotteq_tasks.operations import hooks, schedule

ROOT = Path(__file__).resolve().parents[3]
DOCS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("hooks/README.md"), *ROOT.glob("sample/README.md")]
)
# The last one is no hook of a deploy: it runs on the host.
NAMES = {*hooks.NAMES, Path(schedule.HOOK).name}
SAMPLES = sorted(ROOT.glob("hooks/*.sample"))
OCCASION = hooks.Occasion(
    version="v1.2.0",
    previous="v1.1.0",
    who='ada "root" on a\\b',
    release="20261123T093000Z-v1.2.0",
    result="failed",
    error="first line\nsecond",
    seconds=41.4,
)


def anchors(path: Path) -> set[str]:
    """The fragments of a document's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S), re.M):
        found.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return found


LINKS = [
    pytest.param(path, target, id=f"{path.relative_to(ROOT)} -> {target}")
    for path in DOCS
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    if not re.match(r"https?://", target)
]


@pytest.mark.parametrize(("path", "target"), LINKS)
def test_every_link_leads_somewhere(path: Path, target: str) -> None:
    name, _, fragment = target.partition("#")
    place = (path.parent / name).resolve() if name else path
    assert place.exists()
    if fragment:
        assert fragment in anchors(place)


@pytest.mark.parametrize("path", DOCS, ids=[str(path.relative_to(ROOT)) for path in DOCS])
def test_files_that_are_named_exist(path: Path) -> None:
    """Paths of the repository between backquotes; below flotteq_tasks they may begin with the layer."""
    folders = "operations|commands|model|engines|settings|tasks|host|console|rendering"
    named = re.findall(rf"`((?:{folders}|docs|tests|hooks|nginx|compose|scripts)/[\w./-]+\.\w+)`", path.read_text())
    missing = [name for name in named if not any((top / name).exists() for top in (ROOT, ROOT / "flotteq_tasks"))]
    # What a person makes, and what is on the host.
    absent = {"hooks/freeze", "nginx/upstreams/active.conf"}
    assert [name for name in missing if name not in absent] == []


@pytest.mark.parametrize("readme", ["README.md", "README.fr.md"])
def test_the_exit_codes_are_those_of_the_code(readme: str) -> None:
    found = [int(code) for code in re.findall(r"^\| (\d+) \|", (ROOT / readme).read_text(), re.M)]
    assert found == [int(code) for code in ExitCode]


def steps() -> list[str]:
    """Names of a deploy's steps, in the order of the source."""
    folder = ROOT / "flotteq_tasks/operations/deploy"
    text = (folder / "preparation.py").read_text() + (folder / "rollout.py").read_text()
    return list(dict.fromkeys(re.findall(r'Step\("([^"]+)"', text)))


def test_the_steps_are_those_of_the_code() -> None:
    assert {"preflight", "switch", "verify"} <= set(steps())
    releases = (ROOT / "docs/RELEASES.md").read_text()
    architecture = (ROOT / "docs/ARCHITECTURE.md").read_text()
    assert [name for name in steps() if f"\n| {name} |" not in releases] == []
    line = next(line for line in architecture.splitlines() if line.startswith("preflight"))
    assert sorted(re.findall(r"[\w-]+", line)) == sorted(steps())


def test_every_hook_is_documented_with_its_variables() -> None:
    text = (ROOT / "docs/HOOKS.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \|", text, re.M)
    variables = list(OCCASION.variables(fleet(), "post-deploy"))
    assert sorted(row for row in rows if not row.startswith("FLOTTEQ_")) == sorted(hooks.NAMES)
    assert [row for row in rows if row.startswith("FLOTTEQ_")] == variables
    assert set(re.findall(r"^\| `([^`]+)` \|", (ROOT / "hooks/README.md").read_text(), re.M)) == NAMES


def test_the_samples_are_named_after_hooks() -> None:
    assert SAMPLES
    assert {path.stem for path in SAMPLES} <= NAMES


def test_a_failed_job_is_told_by_the_host_itself(tmp_path: Path) -> None:
    name = Path(schedule.HOOK).name
    address = tmp_path / "notify_url"
    done = run_sample(tmp_path, name, "fleet-schedule-drill.service", NOTIFY_FILE=str(address))
    assert done.returncode == 0 and "nobody was told" in done.stdout
    address.write_text("https://hooks.example/secret")
    done = run_sample(tmp_path, name, "fleet-schedule-drill.service", NOTIFY_FILE=str(address))
    assert (done.returncode, done.stderr) == (0, "")
    words = (tmp_path / "words").read_text()
    assert '{"text": "fleet-schedule-drill.service failed on ' in words and "hooks.example" not in words


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_sound_and_uses_documented_variables_only(sample: Path) -> None:
    program = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run(
        [program, "--shell=sh", "--severity=style", sample], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.stdout + done.stderr == ""
    assert set(re.findall(r"FLOTTEQ_\w+", sample.read_text())) <= set(OCCASION.variables(fleet(), sample.stem))


@pytest.mark.parametrize("name", ["post-deploy", "deploy-failed"])
def test_a_webhook_gets_one_json_document_and_its_address_is_in_no_command_line(tmp_path: Path, name: str) -> None:
    done = run_sample(tmp_path, name, NOTIFY_URL="https://hooks.example/secret")
    assert (done.returncode, done.stderr) == (0, "")
    words = (tmp_path / "words").read_text()
    assert 'url = "https://hooks.example/secret"' in (tmp_path / "config").read_text()
    assert "hooks.example" not in words
    body = words.split("--data\n", 1)[1].splitlines()[0]
    assert body.startswith('{"text": "v1.2.0 ') and '\\"root\\" on a\\\\b' in body


@pytest.mark.parametrize("name", ["post-deploy", "deploy-failed"])
def test_without_an_address_nobody_is_told_and_nothing_fails(tmp_path: Path, name: str) -> None:
    done = run_sample(tmp_path, name)
    assert done.returncode == 0 and "NOTIFY_URL is not set" in done.stdout
    assert not (tmp_path / "words").exists()


def test_a_freeze_refuses_production_and_says_why(tmp_path: Path) -> None:
    assert run_sample(tmp_path, "pre-deploy").returncode == 0
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/freeze").write_text("fair\n")
    done = run_sample(tmp_path, "pre-deploy")
    assert done.returncode == 1 and "production is frozen: fair" in done.stdout
    assert run_sample(tmp_path, "pre-deploy", FLOTTEQ_ENV="staging").returncode == 0


def run_sample(place: Path, name: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a sample as the product does, with a curl that writes down what it gets."""
    (place / "bin").mkdir(exist_ok=True)
    curl = place / "bin/curl"
    curl.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >'{place}/words'\ncat >'{place}/config'\n")
    curl.chmod(0o755)
    environment = {
        "PATH": f"{place}/bin:/usr/bin:/bin", "LC_ALL": "C", **OCCASION.variables(fleet(), name), **variables,
    }  # fmt: skip
    return subprocess.run(
        ["sh", ROOT / f"hooks/{name}.sample", *words], cwd=place, env=environment, capture_output=True, text=True,
        check=False, timeout=20,
    )  # fmt: skip
