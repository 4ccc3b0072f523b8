"""The files of the timers: one program on the host and a unit pair for each job. Pure."""

import re
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
{beside}exec 9>>"$state/lock"
if ! flock --wait {wait} 9; then
  echo "another operation holds the lock: $(cat "$state/lock.json" 2>/dev/null)" >&2
  exit 75
fi
# A shell that waits for a command in the foreground hears of no signal before its end, and what the job starts must
# not hold the lock when this is gone.
trap 'trap "" TERM; kill 0; wait; exit 143' HUP INT TERM
trap 'rm -f "$state/lock.json"' EXIT
moment() {{ date -u +%Y-%m-%dT%H:%M:%S.%3N+00:00; }}
note() {{ printf '{{"at": "%s", %s}}\\n' "$(moment)" "$1" >>"$state/journal.jsonl"; }}
# Half of a line that a full disk has left would take the next one along.
[ -z "$(tail -c 1 "$state/journal.jsonl" 2>/dev/null)" ] || echo >>"$state/journal.jsonl"
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

# It changes nothing that others work on, and runs too often to be journaled.
_BESIDE = """\
if [ "$name" = {name} ]; then
code=0
{command} || code=$?
exit "$code"
fi
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
RandomizedDelaySec={jitter}
# After a downtime it catches up.
Persistent=true

[Install]
WantedBy=timers.target
"""

# What systemd does for a unit: jitter (not with a second word), a limit, the output, the result, the failure.
_BY_CRON = """\
#!/bin/bash
# Written by `inv schedule.install`. Runs one job for cron: by-cron NAME [now]
set -u
name=${{1:?which job}}
cd {directory}/schedule || exit 1
case $name in
{jitters}
*) jitter={jitter} ;;
esac
[ -n "${{2:-}}" ] || sleep "$((RANDOM % (jitter * 60 + 1)))"
code=0
timeout --kill-after=30 {limit} nice -n 10 ./run "$name" >"$name.log.next" 2>&1 || code=$?
mv -f "$name.log.next" "$name.log"
printf '%s %s\\n' "$(date +%s)" "$code" >"$name.result.next"
mv -f "$name.result.next" "$name.result"
if [ "$code" != 0 ]; then
  logger -t {project} -p cron.err "job $name failed with exit code $code: {directory}/schedule/$name.log" || true
  if [ -x on-failure ]; then timeout 120 ./on-failure "$name"; fi
fi
exit "$code"
"""

_CRON_TIME = re.compile(
    r"(?:(?P<days>[A-Z][a-z]{2}(?:(?:,|\.\.)[A-Z][a-z]{2})*) )?\*-\*-(?P<date>\*|\d{1,2}) "
    r"(?P<hour>\d{1,2}(?:,\d{1,2})*):(?P<minute>\d{2})(?::\d{2})?"
)

_CRON_OFTEN = re.compile(r"\*-\*-\* \*:0/(\d{1,2}):00")

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
    """What a timer does and when (systemd's OnCalendar).

    Args:
        jitter: minutes; None: that of [schedule].
        beside: it runs beside whatever holds the host's lock.
    """

    name: str
    what: str
    when: str
    jitter: int | None = None
    beside: bool = False


def jobs(settings: Settings) -> list[Job]:
    """The jobs of a stack, in the order of a night."""
    times = settings.schedule
    certificate = [
        Job("renew", "renew the certificate when it is due", times.renew, jitter=times.renew_jitter),
        Job("rehearse", "rehearse the renewal of the certificate", times.rehearse),
    ]
    every = f"*-*-* *:0/{settings.backup.pitr_minutes}:00"
    recovery = [
        Job("base", "take a base backup", times.base),
        Job("wal", "store the received write-ahead log", every, jitter=0, beside=True),
    ]
    backups = [
        Job("backup", "back up database and certificates", times.backup),
        Job("full", "back up database, uploads and certificates", times.full),
        Job("verify", "read the newest set back, and a seventh of all data", times.verify),
        Job("drill", "restore the newest set where nobody uses it", times.drill),
        Job("prune", "remove what retention does not keep", times.prune),
    ]
    return [
        *(certificate if renews(settings) else []),
        *(recovery if settings.backup.pitr else []),
        *(backups if backs_up(settings) else []),
    ]


def backs_up(settings: Settings) -> bool:
    """Whether the stack has a job that backs up."""
    return settings.backup.service in settings.services


def renews(settings: Settings) -> bool:
    """Whether the stack has a certbot."""
    return "certbot" in settings.of_kind("tool")


def stem(settings: Settings) -> str:
    """How the names of all units begin."""
    return f"{settings.project.name}-schedule"


def program(settings: Settings) -> str:
    """Where the program lies on the host."""
    return f"{settings.directory}/schedule/run"


def cron_program(settings: Settings) -> str:
    """Where the program lies that cron runs."""
    return f"{settings.directory}/schedule/by-cron"


def cron_program_text(settings: Settings) -> str:
    """That program."""
    jitters = "\n".join(f"{job.name}) jitter={job.jitter} ;;" for job in jobs(settings) if job.jitter is not None)
    return _BY_CRON.format(**_common(settings), jitters=jitters)


def cron_time(when: str) -> str | None:
    """A time of systemd's OnCalendar as cron writes it; None for one that cron cannot say.

    >>> cron_time("Sun *-*-* 03:17:00")
    '17 3 * * Sun'
    """
    often = _CRON_OFTEN.fullmatch(when)
    if often is not None:
        return f"*/{often[1]} * * * *"
    found = _CRON_TIME.fullmatch(when)
    if found is None:
        return None
    days = (found["days"] or "*").replace("..", "-")
    hours = ",".join(str(int(hour)) for hour in found["hour"].split(","))
    return f"{int(found['minute'])} {hours} {found['date']} * {days}"


def cron_text(settings: Settings) -> str:
    """The table with every job."""
    lines = [
        "# Written by `inv schedule.install`.",
        "SHELL=/bin/sh",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        *(f"{cron_time(job.when)} root {cron_program(settings)} {job.name}" for job in jobs(settings)),
    ]
    return "".join(f"{line}\n" for line in lines)


def program_text(settings: Settings, commands: Mapping[str, Command]) -> str:
    """The program.

    Args:
        commands: what each job runs.
    """
    beside = [job.name for job in jobs(settings) if job.beside]
    cases = "\n".join(
        f"{name})\n{{ {command.render()}\n}} 9>&- &\nwait $! || code=$? ;;"
        for name, command in commands.items()
        if name not in beside
    )
    first = "".join(_BESIDE.format(name=name, command=commands[name].render()) for name in beside)
    wait = settings.schedule.wait * 60
    return _PROGRAM.format(state=f"{settings.directory}/state", wait=wait, cases=cases, beside=first)


def unit_texts(settings: Settings) -> dict[str, str]:
    """Name and text of every unit."""
    common = _common(settings)
    units = {f"{stem(settings)}-failed@.service": _FAILED.format(**common)}
    for job in jobs(settings):
        jitter = settings.schedule.jitter if job.jitter is None else job.jitter
        values = {**common, "name": job.name, "what": job.what, "when": job.when, "jitter": f"{jitter}m"}
        units[f"{stem(settings)}-{job.name}.service"] = _SERVICE.format(**values)
        units[f"{stem(settings)}-{job.name}.timer"] = _TIMER.format(**values)
    return units


def _common(settings: Settings) -> dict[str, object]:
    return {
        "project": settings.project.name,
        "prefix": stem(settings),
        "program": program(settings),
        "directory": str(settings.directory),
        "limit": settings.backup.timeout + settings.schedule.wait * 60 + 300,
        "jitter": settings.schedule.jitter,
    }
