"""How an error is shown before the process ends: one line and what to do next, or a document for programs."""

from router.cli.complaint import ABORTED, WRONG_INPUT, Complaint, problems_document
from router.cli.output import notices, print_json, show_problems
from router.config.problems import ConfigError


def complain(complaint: Complaint | ConfigError, *, as_json: bool) -> int:
    """Returns the exit code."""
    if isinstance(complaint, ConfigError):
        if as_json:
            print_json(problems_document(complaint.problems))
        else:
            show_problems(notices(), complaint.problems)
        return WRONG_INPUT
    if as_json:
        print_json(complaint.as_document())
        return complaint.exit_code
    screen = notices()
    if complaint.code == ABORTED:
        screen.line(complaint.message)
    else:
        screen.line(f"error: {complaint.message}", "bold red")
    if complaint.hint:
        screen.line(complaint.hint)
    return complaint.exit_code
