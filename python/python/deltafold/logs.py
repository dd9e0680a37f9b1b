"""Events of the engine as records of ``logging``."""

from __future__ import annotations

from deltafold import _deltafold

__all__ = ["log_to_logging"]


def log_to_logging(level: str = "deltafold=info,warn") -> bool:
    """Passes events of the engine on to the loggers ``deltafold.*`` of ``logging``.

    Args:
        level: ``error``, ``warn``, ``info``, ``debug`` or ``trace``, alone or by module:
            ``deltafold=debug,aws_config=error``.

    Returns:
        False if the process passes them on already. The first call decides.
    """
    return _deltafold.pass_logs_on(level)
