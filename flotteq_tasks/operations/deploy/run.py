"""The deploy as a whole: lock, repair, prepare, apply, verify."""

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace

from flotteq_tasks.model.errors import FlotteqError, HostUnreachable
from flotteq_tasks.model.facts import Facts
from flotteq_tasks.operations import releases, verification
from flotteq_tasks.operations.backup import predeploy
from flotteq_tasks.operations.context import Site, holder
from flotteq_tasks.operations.deploy.preparation import Preparation
from flotteq_tasks.operations.deploy.request import Deployed, DeployRequest
from flotteq_tasks.operations.deploy.rollout import Rollout
from flotteq_tasks.operations.hooks import Occasion, run_after, run_hook
from flotteq_tasks.operations.lock import Keeper, locked
from flotteq_tasks.operations.probing import Tally, probing
from flotteq_tasks.operations.repair import repair
from flotteq_tasks.operations.steps import run_steps


def deploy(site: Site, request: DeployRequest, variables: Mapping[str, str]) -> Deployed:
    """Bring a version live, or leave everything as it was.

    Args:
        variables: the environment of this process; it says who deploys.

    Raises:
        UsageError: the request names what does not exist; the host was not contacted.
        FlotteqError: the exit code says whether something was changed; see ``run_steps``.
    """
    request.check(site.settings)
    who = holder(f"deploy {request.version}", variables)
    with locked(site, who) as keeper:
        keeper.write("request", **request.options())
        return _with_hooks(site, request, who, keeper, facts=repair(site, keeper), variables=variables)


def rollback(site: Site, to: str, variables: Mapping[str, str]) -> Deployed:
    """Run an earlier good release again, exactly as it was. Data is never touched.

    Args:
        to: version or release id; empty: the good release before the live one.

    Raises:
        UsageError: there is no such release; those that exist are listed.
    """
    who = holder(f"rollback {to}".strip(), variables)
    with locked(site, who) as keeper:
        facts = repair(site, keeper)
        known = releases.all_releases(site)
        target = releases.choose(known, to)
        crossed = releases.crossed(releases.live(known), target)
        for name in crossed:
            site.report.warn(f"migration {name} stays: {target.version} runs on the newer schema")
        since = releases.first_with(known, crossed)
        if since is not None:
            file = f"{site.settings.project.backups}/pre-deploy/{since.id}.dump"
            dump = predeploy.before(site, since.id) or file
            when = since.created[:16].replace("T", " ")
            site.report.warn(
                f"to restore the database from before them ({dump}) would lose all written since {when} UTC"
            )
        return _with_hooks(site, DeployRequest.back_to(target), who, keeper, facts=facts, variables=variables)


def _with_hooks(
    site: Site,
    request: DeployRequest,
    who: Mapping[str, str],
    keeper: Keeper,
    *,
    facts: Facts,
    variables: Mapping[str, str],
) -> Deployed:
    live = facts.release
    occasion = Occasion(str(request.version), live.version if live else "", f"{who['who']} on {who['where']}")
    started = time.monotonic()
    if run_hook(site.settings, "pre-deploy", occasion, site.report):
        facts = site.engine.facts()
    try:
        done = deploy_locked(site, request, who, keeper, facts=facts, variables=variables)
    except FlotteqError as error:
        failed = replace(occasion, result="failed", error=error.message, seconds=time.monotonic() - started)
        run_after(site.settings, "deploy-failed", failed, site.report)
        raise
    after = replace(occasion, result="done", release=done.release, seconds=done.seconds)
    if not done.already:
        run_after(site.settings, "post-rollback" if request.again else "post-deploy", after, site.report)
    return done


def deploy_locked(
    site: Site,
    request: DeployRequest,
    who: Mapping[str, str],
    keeper: Keeper,
    *,
    facts: Facts,
    variables: Mapping[str, str],
) -> Deployed:
    """Deploy under a lock that the caller holds; see ``deploy``.

    Args:
        facts: the host now, repaired.
    """
    started = time.monotonic()
    prepared = Preparation(site, request, who, facts, variables)
    run_steps(prepared.steps(), site.report, keeper)
    tally, answers, live = Tally(), None, 0.0
    if not prepared.nothing_to_do:
        rollout = Rollout(prepared)
        # Before the first release nothing answers yet, in maintenance all is 503: there is nothing that could fail.
        answering = prepared.facts.installed and not prepared.facts.maintenance
        watch = probing(site.settings, verify=prepared.issued) if answering else nullcontext(tally)
        with watch as tally:
            _roll_out(site, rollout, tally, keeper)
        answers, live = rollout.answers, rollout.recorded
    answers = answers or verification.verify_domains(
        site.settings, verify=prepared.issued, maintenance=prepared.facts.maintenance
    )
    verification.require(answers)
    if tally.failed:
        site.report.warn(f"{tally.failed} of {tally.sent} probes failed; the first: {tally.first}")
    return Deployed(
        version=str(request.version),
        release=prepared.release.id,
        changed=tuple(change.service for change in prepared.changed),
        seconds=(live or time.monotonic()) - started,
        domains=tuple(answers),
        verified_tls=prepared.issued.issuperset(site.settings.public.values()),
        already=prepared.nothing_to_do,
        probes=tally.sent,
        failed=tally.failed,
        pulled=prepared.transferred,
    )


def _roll_out(site: Site, rollout: Rollout, tally: Tally, keeper: Keeper) -> None:
    rollout.tally = tally
    try:
        run_steps(rollout.steps(), site.report, keeper)
    except FlotteqError as error:
        _remember_failure(site, rollout, error)
        raise
    keeper.last_words("live", release=rollout.release.id, version=rollout.release.version)
    rollout.clean_up()


def _remember_failure(site: Site, rollout: Rollout, error: FlotteqError) -> None:
    """Releases that failed are listed, too; that they cannot be written down must not hide why they failed."""
    if isinstance(error, HostUnreachable):
        return
    try:
        releases.record_failed(site, rollout.release, error.message)
    except FlotteqError as second:
        site.report.warn(f"the failed release could not be recorded: {second.message}")
