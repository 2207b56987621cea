"""Several workers' answers as one."""

from router.app.crew import joined_reload, joined_status


def reloaded(*problems: str, fingerprint: str = "f") -> dict[str, object]:
    return {"reloaded": not problems, "fingerprint": fingerprint, "problems": list(problems)}


def status(inflight: int, *reasons: str, **notes: str) -> dict[str, object]:
    counts = {"inflight": inflight, "streams": inflight}
    return {"fingerprint": "f", "ready": not reasons, "reasons": list(reasons), "notes": notes, "health": {}, **counts}


def test_a_reload_is_good_when_it_is_for_all() -> None:
    assert joined_reload({0: reloaded(), 1: reloaded()}, []) == reloaded()


def test_a_reload_that_one_refuses_has_failed_and_each_problem_is_said_once() -> None:
    assert joined_reload({0: reloaded("a", "b"), 1: reloaded("b"), 2: reloaded()}, []) == reloaded("a", "b")


def test_a_worker_that_is_silent_is_a_problem() -> None:
    assert joined_reload({1: reloaded()}, [0]) == reloaded("worker 0 has not answered")
    assert joined_reload({}, [0, 1])["reloaded"] is False


def test_a_daemon_is_ready_when_all_its_workers_are() -> None:
    joined = joined_status({0: status(2), 1: status(3, "draining", config="bad")})
    assert joined == status(5, "draining", config="bad")
    assert joined_status({0: status(2), 1: status(3)})["ready"] is True


def test_without_any_answer_it_is_not_ready() -> None:
    joined = joined_status({})
    assert (joined["ready"], joined["reasons"]) == (False, ["no worker answers"])
