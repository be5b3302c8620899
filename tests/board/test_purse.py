"""How often pages are drawn."""

from trainer.board.purse import SHARE, Purse


def drawn(
    epochs: int, costs: dict[str, float], every: int | None = None, first: int = 1
) -> dict[str, list[int]]:
    """The epochs after which each page is drawn, where an epoch takes 10 s."""
    purse = Purse(epochs, every)
    found: dict[str, list[int]] = {name: [] for name in costs}
    for epoch in range(first, epochs + 1):
        purse.earn(10)
        for name, cost in costs.items():
            if purse.due(name, epoch):
                purse.pay(name, epoch, cost)
                found[name].append(epoch)
    return found


def test_what_is_cheap_is_drawn_every_epoch() -> None:
    assert drawn(5, {"cheap": 0.01}) == {"cheap": [1, 2, 3, 4, 5]}


def test_what_is_dear_is_drawn_first_and_last() -> None:
    assert drawn(5, {"dear": 60.0}) == {"dear": [1, 5]}


def test_the_share_is_kept_and_spent() -> None:
    costs = {"cheap": 0.01, "middling": 0.3, "dear": 1.0}
    found = drawn(100, costs)
    spent = sum(costs[name] * len(epochs) for name, epochs in found.items())
    assert 0.9 * SHARE * 1000 <= spent <= 1.05 * SHARE * 1000
    assert len(found["cheap"]) == 100
    assert len(found["middling"]) > len(found["dear"]) > 8
    gaps = [later - one for one, later in zip(found["dear"], found["dear"][1:], strict=False)]
    assert max(gaps) - min(gaps[:-1]) <= 2  # evenly


def test_a_dear_first_time_is_no_price_for_ever() -> None:
    purse = Purse(100)
    purse.earn(10)
    purse.pay("page", 1, 5.0)  # libraries are loaded
    epoch = 1
    while not purse.due("page", epoch := epoch + 1):
        purse.earn(10)
    purse.earn(10)
    purse.pay("page", epoch, 0.1)
    purse.earn(10)
    assert purse.due("page", epoch + 1)


def test_a_training_that_goes_on_spends_its_own_share_alone() -> None:
    """Of ten epochs that are left, not of the hundred."""
    fresh = drawn(10, {"dear": 1.0})
    assert drawn(100, {"dear": 1.0}, first=91) == {"dear": [90 + each for each in fresh["dear"]]}


def test_every_says_when() -> None:
    assert drawn(8, {"dear": 60.0}, every=3) == {"dear": [1, 3, 6, 8]}
