"""What the benchmarks share: processor seconds of one thread, and one form of result file."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tasks.common.files import write_json
from tasks.common.results import environment

__all__ = ["least_seconds", "timed", "write_result"]

Result = TypeVar("Result")


def timed(action: Callable[[], Result]) -> tuple[Result, float]:
    """What a call gives, and its processor seconds, which a busy machine does not change.

    Args:
        action: the call.

    Returns:
        Its result and the seconds.
    """
    begun = time.process_time()
    return action(), time.process_time() - begun


def least_seconds(action: Callable[[], Any], repeats: int = 5) -> float:
    """Processor seconds of the fastest of several calls, after one to warm up.

    Args:
        action: the call.
        repeats: number of calls.

    Returns:
        The seconds.
    """
    action()
    return min(timed(action)[1] for _ in range(repeats))


def write_result(out: Path, content: dict[str, Any], *inputs: str) -> None:
    """Write a result file with the command that made it and the environment it ran in.

    Args:
        out: the file (JSON).
        content: what was measured.
        inputs: further arguments of the command, such as ``--data orbits.npz``.
    """
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *inputs, f"--out {out}"])
    write_json(out, {"command": command, "environment": environment(), **content})
