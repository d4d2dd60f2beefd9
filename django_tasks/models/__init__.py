"""The database. It knows no Redis."""

from django_tasks import installation as installation  # registers a check, and more: see there
from django_tasks.models.console import Queue as Queue
from django_tasks.models.record import TaskAttempt as TaskAttempt
from django_tasks.models.record import TaskRecord as TaskRecord
from django_tasks.models.workflow import TaskDependency as TaskDependency
from django_tasks.models.workflow import Workflow as Workflow
