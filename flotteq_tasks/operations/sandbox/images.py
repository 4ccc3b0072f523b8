"""Build the sandbox's images once: the tag is the key of the content."""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from flotteq_tasks.commands.shell import Command, pipe
from flotteq_tasks.model.errors import CommandFailed, FlotteqError, PreflightFailed
from flotteq_tasks.operations.sandbox import packages, recipes
from flotteq_tasks.operations.sandbox.docker import Docker
from flotteq_tasks.operations.sandbox.recipes import Base, Recipe, content_key
from flotteq_tasks.operations.sandbox.report import Report

_AT_ONCE = 2
_BUILD_LIMIT = 900
_HUB_LIMIT = 8
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_GLIBC = ("2_17", "2_24", "2_28", "2_31", "2_34", "2_36", "2_38", "2_39", "2_41")
# What nobody reads inside a container; the alias file is needed to define locales.
_LEFT_OUT = (
    "path-exclude=/usr/share/man/*", "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/locale/*", "path-include=/usr/share/locale/locale.alias",
)  # fmt: skip


T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Images:
    """References on this machine's engine.

    Args:
        host: the VPS.
        services: registry, ACME server, DNS.
        node: the image that sample applications are built with.
        frontend: the nginx that frontends end in.
        postgres, debian: what the image of the backups is made of.
        served: reference for the VPS (``library/postgres:15``) → reference here.
        official: whether they come from Docker Hub.
    """

    host: str
    services: str
    node: str
    frontend: str
    postgres: str
    debian: str
    served: dict[str, str]
    official: bool


def ensure_images(docker: Docker, root: Path, state: Path, report: Report) -> Images:
    """Build or fetch what is not there yet, two images at a time.

    Args:
        root: the repository.
        state: a directory for build contexts that need downloads.
    """
    builder = _Builder(docker, root / "sandbox", state / "build", report)
    bases = builder.bases()
    references = dict(_parallel(recipes.RECIPES, lambda recipe: (recipe.name, builder.image(recipe, bases))))
    builder.tidy()
    frontend = references[recipes.NGINX]
    if builder.official:
        frontend = builder.pulled(recipes.OFFICIAL_FRONTEND)
    return Images(
        host=references[recipes.HOST],
        services=references[recipes.SERVICES],
        node=references[recipes.NODE],
        frontend=frontend,
        postgres=references[recipes.POSTGRES],
        debian=bases[recipes.TRIXIE.name],
        served={recipe.served: references[recipe.name] for recipe in recipes.RECIPES if recipe.served},
        official=builder.official,
    )


def ensure_image(docker: Docker, root: Path, state: Path, recipe: Recipe, report: Report) -> str:
    """Return the reference of one image that no sandbox needs by itself; it is built when it is not there."""
    builder = _Builder(docker, root / "sandbox", state / "build", report)
    return builder.image(recipe, builder.bases())


def ensure_graders(docker: Docker, root: Path, state: Path, report: Report) -> str:
    """Return the reference of the image of the graders; it is built when it is not there. Arguments as above."""
    builder = _Builder(docker, root / "sandbox", state / "build", report)
    bases = builder.bases()
    node = next(one for one in recipes.RECIPES if one.name == recipes.NODE)
    return builder.graders(bases[recipes.TRIXIE.name], builder.image(node, bases))


def remove_images(docker: Docker, registries: Sequence[str], report: Report) -> None:
    """Remove the images that were built for sandboxes or tagged for these registries; official ones stay."""
    prefixes = [recipes.REPOSITORY, *registries, *(f"{registry}/*" for registry in registries)]
    filters = [f"--filter=reference={prefix}/*" for prefix in prefixes]
    listing = ("image", "ls", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}", filters)
    # An image whose tag went to a newer one is known by its digest alone; the last tag takes the digest with it.
    for tagged in (True, False):
        found = [line.split(" ") for line in docker.run(*listing).out.splitlines()]
        wanted = {f"{name}:{tag}" if tagged else f"{name}@{digest}" for name, tag, digest in found}
        wanted = {one for one in wanted if "<none>" not in one}
        if wanted:
            report(f"removing {len(wanted)} images{'' if tagged else ' without a tag'}")
            docker.run("image", "rm", "--force", sorted(wanted), timeout=300)


class _Builder:
    def __init__(self, docker: Docker, definitions: Path, scratch: Path, report: Report) -> None:
        self._docker = docker
        self._definitions = definitions
        self._scratch = scratch
        self._report = report
        self._builder = self._builder_of_this_engine()
        self.official = self._official()

    def tidy(self) -> None:
        """Remove the directory of downloads; only when nothing is built any more."""
        shutil.rmtree(self._scratch, ignore_errors=True)

    def bases(self) -> dict[str, str]:
        """Return name → reference of the bases that are needed."""
        needed = (recipes.TRIXIE,) if self.official else recipes.BASES
        missing = [base for base in needed if not self._docker.image_id(self._base_reference(base, self.official))]
        if missing and not self.official:
            _ensure_tools(self._docker, self._report)
        return dict(_parallel(needed, lambda base: (base.name, self._base(base))))

    def image(self, recipe: Recipe, bases: dict[str, str]) -> str:
        """Return the reference of an image that is there now."""
        if recipe.official and self.official:
            return self.pulled(recipe.official)
        folder = self._definitions / recipe.name
        base = bases[recipe.base]
        reference = _reference(recipe.name, content_key(folder, str(self._docker.image_id(base))))
        if self._docker.image_id(reference) is None:
            self._report(f"building {recipe.name}")
            with self._context(recipe, folder) as context:
                self._build(reference, context, f"BASE={base}")
        return reference

    def graders(self, base: str, node: str) -> str:
        """Return the reference of the graders' image, which is there now."""
        folder = self._definitions / recipes.GRADERS
        ids = (str(self._docker.image_id(one)) for one in (base, node))
        reference = _reference(recipes.GRADERS, content_key(folder, *ids))
        if self._docker.image_id(reference) is None:
            self._report("building the graders")
            # Where a proxy opens TLS, the build needs this machine's own authorities.
            bundle = os.environ.get("SSL_CERT_FILE", "")
            secret = [f"--secret=id=ca,src={bundle}"] if bundle else []
            self._build(reference, folder, f"BASE={base}", f"NODE={node}", options=secret)
        return reference

    def pulled(self, reference: str) -> str:
        """Return the reference of an official image, pulled when it is not there."""
        if self._docker.image_id(reference) is None:
            self._report(f"pulling {reference}")
            self._docker.run("pull", "--quiet", reference, timeout=_BUILD_LIMIT)
        return reference

    def _official(self) -> bool:
        """What is there decides first, so that a second run asks nobody."""
        if self._docker.image_id(self._base_reference(recipes.TRIXIE, False)):
            return False
        if self._docker.image_id(recipes.STABLE_OFFICIAL):
            return True
        inspect = Command("docker", "buildx", "imagetools", "inspect", recipes.STABLE_OFFICIAL)
        try:
            answers = self._docker.host.run(inspect, timeout=_HUB_LIMIT, check=False).ok
        except FlotteqError:
            answers = False
        self._report("Docker Hub answers: official images" if answers else "no Docker Hub: images from packages")
        return answers

    def _base_reference(self, base: Base, official: bool) -> str:
        source = base.official if official else f"{base.suite} {' '.join(_LEFT_OUT)}"
        return _reference(base.name, content_key(self._definitions / "base", source))

    def _base(self, base: Base) -> str:
        reference = self._base_reference(base, self.official)
        if self._docker.image_id(reference) is None:
            rootfs = self.pulled(base.official) if self.official else self._rootfs(base)
            self._report(f"building {base.name}")
            self._build(reference, self._definitions / "base", f"ROOTFS={rootfs}")
        return reference

    def _rootfs(self, base: Base) -> str:
        reference = f"{recipes.REPOSITORY}/rootfs:{base.suite}"
        self._report(f"making a Debian {base.suite} from packages")
        host = self._docker.host
        source = packages.mirror(host).source(base.suite)
        options = [f"--dpkgopt={option}" for option in _LEFT_OUT]
        bootstrap = Command(
            "mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", options, base.suite, "-", source
        )
        host.run(pipe(bootstrap, Command("docker", "import", "-", reference)), timeout=_BUILD_LIMIT)
        return reference

    def _build(self, reference: str, context: Path, *arguments: str, options: Sequence[str] = ()) -> None:
        passed = [*arguments, *(f"{name}={os.environ[name]}" for name in _PROXY_VARIABLES if os.environ.get(name))]
        words = ["--quiet", "--load", *self._builder, *options, *(f"--build-arg={argument}" for argument in passed)]
        try:
            self._docker.run("buildx", "build", words, "--tag", reference, str(context), timeout=_BUILD_LIMIT)
        except CommandFailed as error:
            raise CommandFailed(
                f"the sandbox image {context.name} does not build",
                code=error.code,
                hint=f"see all of it: docker buildx build --build-arg {arguments[0]} {context}",
                details=error.details,
            ) from error

    def _builder_of_this_engine(self) -> list[str]:
        """A builder of its own container would not see the images that were built here."""
        done = self._docker.run("context", "show", check=False)
        return ["--builder", done.out.strip()] if done.ok else []

    @contextlib.contextmanager
    def _context(self, recipe: Recipe, folder: Path) -> Iterator[Path]:
        """Fetch wheels here, with this machine's own index and certificates: the build needs no network for them."""
        if not recipe.wheels:
            yield folder
            return
        context = self._scratch / recipe.name
        shutil.rmtree(context, ignore_errors=True)
        shutil.copytree(folder, context)
        try:
            self._fetch_wheels(recipe, context)
            yield context
        finally:
            # Its own alone: another image is built beside it.
            shutil.rmtree(context, ignore_errors=True)

    def _fetch_wheels(self, recipe: Recipe, context: Path) -> None:
        machine = self._docker.run("info", "--format", "{{.Architecture}}").out.strip()
        platforms = ["any", *(f"manylinux_{glibc}_{machine}" for glibc in _GLIBC)]
        self._docker.host.run(
            Command(
                sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                "--require-hashes", "--only-binary=:all:", "--implementation=cp", f"--python-version={recipe.wheels}",
                (f"--platform={platform}" for platform in platforms),
                "--requirement", str(context / "requirements.txt"), "--dest", str(context / "wheels"),
            ),
            timeout=_BUILD_LIMIT,
        )  # fmt: skip


def _ensure_tools(docker: Docker, report: Report) -> None:
    if shutil.which("mmdebstrap"):
        return
    if not (packages.is_root() and packages.has_apt()):
        raise PreflightFailed(
            "Docker Hub does not answer, and mmdebstrap is missing", hint="apt-get install mmdebstrap"
        )
    report("installing mmdebstrap")
    packages.update(docker.host)
    packages.install(docker.host, "mmdebstrap")


def _reference(name: str, key: str) -> str:
    return f"{recipes.REPOSITORY}/{name}:{key}"


def _parallel(items: Iterable[T], work: Callable[[T], R]) -> list[R]:
    pool = ThreadPoolExecutor(max_workers=_AT_ONCE)
    try:
        futures: list[Future[R]] = [pool.submit(work, item) for item in items]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)
