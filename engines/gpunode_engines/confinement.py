"""What holds an engine's process back, as values: the policy it starts under, what took effect, the level of both."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SandboxMode = Literal["auto", "strict"]
"""``auto``: what the platform lacks is said. ``strict``: an engine that cannot be confined fully does not start."""

FULL_LEVEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxPolicy:
    """How an engine must be confined. private: absolute folders that it must not read, wherever its model lies."""

    mode: SandboxMode = "auto"
    private: tuple[str, ...] = ()

    @classmethod
    def of(cls, mode: SandboxMode, *private: Path) -> "SandboxPolicy":
        """Return a policy that keeps folders private; they need not exist yet."""
        return cls(mode=mode, private=tuple(str(path.resolve()) for path in private))


ORDINARY = SandboxPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What took effect in an engine's process.

    no_new_privileges: also that it ends with its parent. files: Landlock. system_calls: seccomp, in every thread.
    denials_reported: refused system calls reach the node's log.
    """

    no_new_privileges: bool = False
    files: bool = False
    system_calls: bool = False
    denials_reported: bool = False

    @property
    def level(self) -> int:
        """0: a process of its own. 1: without new privileges. 2: files or system calls as well. 3: both."""
        if not self.no_new_privileges:
            return 0
        return 1 + self.files + self.system_calls

    def active(self) -> tuple[str, ...]:
        """Return what is in force, for a person."""
        return tuple(name for name, is_there in self._parts().items() if is_there)

    def lacks(self) -> tuple[str, ...]:
        """Return what is not in force, for a person."""
        return tuple(name for name, is_there in self._parts().items() if not is_there)

    def _parts(self) -> dict[str, bool]:
        return {
            "no new privileges": self.no_new_privileges,
            "files by Landlock": self.files,
            "system calls by seccomp": self.system_calls,
        }


NOTHING = Confinement()
