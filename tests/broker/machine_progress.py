"""The machine's tasks that tell of their progress: in time, late, and after another's claim."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.broker.machine_calls import Calls


class Telling(Calls):
    """One rule more."""

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), done=st.integers(0, 9))
    def progress(self, data: Any, done: int) -> None:
        queue, consumer, message = data.draw(st.sampled_from(self.claims))
        old = self.line(queue).messages.get(message.id)
        is_his = (
            old is not None
            and old["state"] == "RUNNING"
            and (old["consumer"], int(old["fence"])) == (consumer, message.fence)
        )
        report = f'{{"fence":{message.fence},"done":{done}}}'

        verdicts = self.broker.progress(queue, [(consumer, message.id, message.fence, report)])

        assert verdicts == [int(is_his)]
        new = self.look({message.id} if is_his else set())[queue].messages.get(message.id)
        if is_his and old is not None:
            assert new == {**old, "report": report}, "nothing else changes, nothing moves"
