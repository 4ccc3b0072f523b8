"""Looking at an environment from outside and from inside."""

from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(
    help={
        "limits": "use up this machine's own limits, too: it gets 429 for some seconds afterwards",
        "graders": "let testssl.sh, sslyze, the MDN Observatory and csp_evaluator look, too: some minutes, a checkout",
        "env": ENV_HELP,
        "json": JSON_HELP,
    }
)
def edge(c: Context, *, limits: bool = False, graders: bool = False, env: str = "", json: bool = False) -> None:
    """Check from outside what the edge shows.

    TLS, foreign names, headers, caches, hidden paths, ports. Exit code 5 when something is not right.
    """
    from flotteq_tasks.console.results import show_checks
    from flotteq_tasks.model.errors import ExitCode
    from flotteq_tasks.operations.audit import audit_edge

    call = app(env, json=json)
    found = audit_edge(call.settings, limits=limits)
    if graders:
        from flotteq_tasks.operations.audit.graders import audit_by_graders

        found += audit_by_graders(call.settings, call.console.report)
    show_checks(call.console, found)
    if not all(one.ok for one in found):
        raise Exit(code=int(ExitCode.UNHEALTHY))


@task(
    help={
        "ports": "tried from this machine instead of those of flotteq.toml: 22,8000-8100",
        "full": "try all 65,535 ports: up to six minutes where a firewall drops what it refuses",
        "sarif": "write the findings to this file, too, in SARIF 2.1.0",
        "env": ENV_HELP,
        "json": JSON_HELP,
    }
)
def security(
    c: Context, *, ports: str = "", full: bool = False, sarif: str = "", env: str = "", json: bool = False
) -> None:
    """Check privileges, limits, files, ports, certificate and headers.

    By the CIS Docker Benchmark. What flotteq.toml accepts is listed with its reason. Exit code 5 when more is open.
    """
    from flotteq_tasks.console.security_results import show_risks, write_sarif
    from flotteq_tasks.model.errors import ExitCode
    from flotteq_tasks.operations.audit import audit_security
    from flotteq_tasks.operations.audit.security_ports import wanted

    call, tried = app(env, json=json), wanted(ports, full=full)
    found = audit_security(call.site, ports=tried)
    if sarif:
        write_sarif(sarif, found, call.settings.project.compose_file)
    show_risks(call.console, found)
    if any(one.open for one in found):
        raise Exit(code=int(ExitCode.UNHEALTHY))
