"""A rotation is one rename: nobody else notices, and the old password is dead at once."""

import threading

import httpx
from front import PASSWORD, USER, Front

BYSTANDERS = 3
ROTATIONS = 60


def test_bystanders_lose_no_request_while_passwords_rotate(front: Front) -> None:
    statuses: list[int] = []
    over = threading.Event()
    front.let_in("rotating", "password-0")

    def stand_by() -> None:
        # A client that keeps its connection, and takes another when nginx closes it: after
        # 1,000 requests it does.
        with httpx.Client(base_url=f"http://{front.host}", trust_env=False) as client:
            while not over.is_set():
                answer = client.get("/bystander", auth=(USER, PASSWORD))
                statuses.append(answer.status_code)

    threads = [threading.Thread(target=stand_by) for _ in range(BYSTANDERS)]
    for thread in threads:
        thread.start()
    try:
        wrong = []
        for number in range(1, ROTATIONS + 1):
            front.let_in("rotating", f"password-{number}")
            new = front.ask("/", login=f"rotating:password-{number}".encode()).status
            old = front.ask("/", login=f"rotating:password-{number - 1}".encode()).status
            if (new, old) != (200, 401):
                wrong.append((number, new, old))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert wrong == [], "a new password did not open, or an old one still did"
    assert len(statuses) > ROTATIONS, "the bystanders hardly asked anything"
    assert set(statuses) == {200}
