"""Deploy a version, or run an earlier release again."""

from flotteq_tasks.operations.deploy.request import Deployed, DeployRequest
from flotteq_tasks.operations.deploy.run import deploy, deploy_locked, rollback

__all__ = ["DeployRequest", "Deployed", "deploy", "deploy_locked", "rollback"]
