import reasoning_probe as rp


@rp.probe("multi_step")
def test_multi_step(answer: rp.Outcome) -> None:
    assert answer.correct
