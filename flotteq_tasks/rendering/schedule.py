"""The files of the timers: one program on the host and a unit pair for each job. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from flotteq_tasks.commands.shell import Command
from flotteq_tasks.model.stack import Settings

# The same lock as that of people: a timer never works beside a deploy. The journal gets its lines as well.
_PROGRAM = """\
#!/bin/bash
# Written by `inv schedule.install`. Runs one job under the host's lock: run NAME
set -u
state={state}
name=${{1:?which job}}
exec 9>>"$state/lock"
if ! flock --wait {wait} 9; then
  echo "another operation holds the lock: $(cat "$state/lock.json" 2>/dev/null)" >&2
  exit 75
fi
trap 'exit 143' HUP INT TERM
trap 'rm -f "$state/lock.json"' EXIT
moment() {{ date -u +%Y-%m-%dT%H:%M:%S.%3N+00:00; }}
note() {{ printf '{{"at": "%s", %s}}\\n' "$(moment)" "$1" >>"$state/journal.jsonl"; }}
who="\\"what\\": \\"schedule $name\\", \\"where\\": \\"$(hostname)\\", \\"who\\": \\"timer\\""
printf '{{%s, "since": "%s"}}\\n' "$who" "$(moment)" >"$state/lock.json"
echo $$ >"$state/lock.pid"
note "\\"event\\": \\"start\\", $who"
code=0
case $name in
{cases}
*) echo "there is no job $name" >&2; code=2 ;;
esac
result="done"
[ "$code" = 0 ] || result=failed
note "\\"event\\": \\"end\\", \\"result\\": \\"$result\\", \\"error\\": \\"exit code $code\\", \\"who\\": \\"timer\\""
exit "$code"
"""

_SERVICE = """\
[Unit]
Description={project}: {what}
Requires=docker.service
After=docker.service network-online.target
OnFailure={prefix}-failed@%n.service

[Service]
Type=oneshot
ExecStart={program} {name}
TimeoutStartSec={limit}
Nice=10
IOSchedulingClass=idle
"""

_TIMER = """\
[Unit]
Description={project}: {what}

[Timer]
OnCalendar={when}
RandomizedDelaySec={jitter}m
# After a downtime it catches up.
Persistent=true

[Install]
WantedBy=timers.target
"""

_FAILED = """\
[Unit]
Description={project}: say that %i failed

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo "%i failed: journalctl -u %i" | systemd-cat -t {project} -p err; \
if [ -x {directory}/schedule/on-failure ]; then exec {directory}/schedule/on-failure "%i"; fi'
TimeoutStartSec=120
"""


@dataclass(frozen=True)
class Job:
    """What a timer does and when (systemd's OnCalendar)."""

    name: str
    what: str
    when: str


def jobs(settings: Settings) -> list[Job]:
    """The jobs of a stack, in the order of a night."""
    times = settings.schedule
    return [
        Job("backup", "back up database and certificates", times.backup),
        Job("full", "back up database, uploads and certificates", times.full),
        Job("verify", "read the newest set back, and a seventh of all data", times.verify),
        Job("drill", "restore the newest set where nobody uses it", times.drill),
        Job("prune", "remove what retention does not keep", times.prune),
    ]


def stem(settings: Settings) -> str:
    """How the names of all units begin."""
    return f"{settings.project.name}-schedule"


def program(settings: Settings) -> str:
    """Where the program lies on the host."""
    return f"{settings.directory}/schedule/run"


def program_text(settings: Settings, commands: Mapping[str, Command]) -> str:
    """The program.

    Args:
        commands: what each job runs.
    """
    cases = "\n".join(f"{name})\n{command.render()} || code=$? ;;" for name, command in commands.items())
    wait = settings.schedule.wait * 60
    return _PROGRAM.format(state=f"{settings.directory}/state", wait=wait, cases=cases)


def unit_texts(settings: Settings) -> dict[str, str]:
    """Name and text of every unit."""
    common = {
        "project": settings.project.name,
        "prefix": stem(settings),
        "program": program(settings),
        "directory": str(settings.directory),
        "limit": settings.backup.timeout + settings.schedule.wait * 60 + 300,
        "jitter": settings.schedule.jitter,
    }
    units = {f"{stem(settings)}-failed@.service": _FAILED.format(**common)}
    for job in jobs(settings):
        values = {**common, "name": job.name, "what": job.what, "when": job.when}
        units[f"{stem(settings)}-{job.name}.service"] = _SERVICE.format(**values)
        units[f"{stem(settings)}-{job.name}.timer"] = _TIMER.format(**values)
    return units
