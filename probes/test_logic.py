import reasoning_probe as rp


@rp.probe("logic")
def test_logic(answer: rp.Outcome) -> None:
    assert answer.correct
