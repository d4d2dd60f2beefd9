"""The console: what a person sees and does in the Django admin."""

from django_tasks.admin.pages import QueueAdmin as QueueAdmin
from django_tasks.admin.records import TaskRecordAdmin as TaskRecordAdmin
from django_tasks.admin.workflows import WorkflowAdmin as WorkflowAdmin
