"""A rotation is one rename: nobody else notices, and the old password is dead at once."""

import threading

from front import PASSWORD, USER, Front, authorization

BYSTANDERS = 3
ROTATIONS = 60


def test_bystanders_lose_no_request_while_passwords_rotate(front: Front) -> None:
    statuses: list[bytes] = []
    over = threading.Event()
    front.let_in("rotating", "password-0")

    def stand_by() -> None:
        with front.connect() as connection, connection.makefile("rb") as answers:
            request = f"GET /bystander HTTP/1.1\r\nHost: {front.host}\r\n"
            request += f"{authorization(f'{USER}:{PASSWORD}'.encode())}\r\n\r\n"
            while not over.is_set():
                connection.sendall(request.encode())
                statuses.append(answers.readline().split()[1])
                length = 0
                while (line := answers.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                answers.read(length)

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
    assert set(statuses) == {b"200"}
