"""Every error that the room `tasks` raises on purpose."""


class TaskError(Exception):
    """Base of the errors below; its text is one sentence for a person."""


class UnknownName(TaskError):
    """A task, method, family or metric that nothing registered."""


class InvalidParams(TaskError):
    """A parameter that does not exist, has the wrong type or lies outside its range."""


class InvalidResult(TaskError):
    """A method handed back something the task's contract forbids (wrong shape, non-finite, more bits than declared, an illegal action).

    The attempt ends as `invalid` and is not retried: it would happen again.
    """
