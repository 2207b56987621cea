"""Why a command stopped, in words for its user: the only exception the command line raises on purpose."""

from collections.abc import Sequence

from router.config.problems import Problem

FAILED = 1
WRONG_INPUT = 2

ABORTED = "aborted"
"""The code of a complaint that is the user's own wish, and so no error."""


class Complaint(Exception):
    """`code` is stable for scripts, `hint` says what to do next; both texts hold no secret."""

    exit_code = FAILED

    def __init__(self, message: str, *, hint: str = "", code: str = "failed", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        if exit_code is not None:
            self.exit_code = exit_code

    def as_document(self) -> dict[str, object]:
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


class WrongInput(Complaint):
    """The arguments, the file or what they name must change before a second try can help."""

    exit_code = WRONG_INPUT

    def __init__(self, message: str, *, hint: str = "", code: str = "wrong_input") -> None:
        super().__init__(message, hint=hint, code=code)


def problems_document(problems: Sequence[Problem]) -> dict[str, object]:
    return {"problems": [problem.as_dict() for problem in problems]}
