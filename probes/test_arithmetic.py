import reasoning_probe as rp


@rp.probe("arithmetic")
def test_arithmetic(answer: rp.Outcome) -> None:
    assert answer.correct
