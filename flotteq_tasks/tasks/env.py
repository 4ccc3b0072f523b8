"""The .env files."""

from invoke.context import Context
from invoke.exceptions import Exit

from flotteq_tasks.tasks._app import ENV_HELP, JSON_HELP, app
from flotteq_tasks.tasks._decorator import task


@task(help={"env": ENV_HELP, "json": JSON_HELP})
def lint(c: Context, *, env: str = "", json: bool = False) -> None:
    """Check that all readers understand .env.NAME alike.

    python-dotenv and Compose read some lines differently: those are errors.
    """
    from flotteq_tasks.console.results import show_problems
    from flotteq_tasks.model.errors import ExitCode
    from flotteq_tasks.settings.loader import lint_env

    call = app(env, json=json)
    problems = lint_env(call.root, call.environment)
    show_problems(call.console, problems)
    if any(one.severity == "error" for one in problems):
        raise Exit(code=int(ExitCode.USAGE))
