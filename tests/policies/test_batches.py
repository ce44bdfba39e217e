"""Which rows training sees, and what chunks they make."""

from __future__ import annotations

from dataclasses import replace

import dots
import numpy as np
import pytest
import torch
from twinloop.policies.augment import Augment
from twinloop.policies.batches import Batches, chunk_rows, split
from twinloop.policies.normalise import FLOOR, Normaliser
from twinloop.policies.samples import Retakes, Samples, Views
from twinloop.robot.errors import DatasetError

CPU = torch.device("cpu")


def test_chunks_end_with_the_episode() -> None:
    rows = chunk_rows(np.array([0, 0, 0, 1, 1]), 3)
    assert rows.tolist() == [[0, 1, 2], [1, 2, 2], [2, 2, 2], [3, 4, 4], [4, 4, 4]]


@pytest.mark.parametrize(("share", "held"), [(0.0, 0), (0.01, 1), (0.25, 3), (0.99, 11)])
def test_whole_episodes_are_held_out(share: float, held: int) -> None:
    episode = np.repeat(np.arange(12), 5)
    train, validate = split(episode, share, seed=3)
    assert len(np.unique(episode[validate])) == held
    assert not set(episode[train]) & set(episode[validate])
    assert sorted([*train, *validate]) == list(range(60))


def test_every_row_comes_once_an_epoch(rows: Samples) -> None:
    batches = Batches(rows, (), 4, CPU, seed=1)
    mine = np.arange(0, 100, 2)  # 50 rows, 10 batches of 15 = 3 epochs
    seen = np.concatenate([batches.order(mine, step, 15) for step in range(10)])
    for epoch in seen.reshape(3, 50):
        assert sorted(epoch) == mine.tolist()
    assert seen[:50].tolist() != seen[50:100].tolist()


def test_a_batch_is_the_rows_asked_for(rows: Samples) -> None:
    batches = Batches(rows, ("front",), 4, CPU, seed=1)
    batch = batches.at(np.array([0, 39]))
    np.testing.assert_array_equal(batch.state.numpy(), rows.state[[0, 39]])
    np.testing.assert_array_equal(batch.action[0].numpy(), rows.action[0:4])
    np.testing.assert_array_equal(batch.action[1].numpy(), rows.action[[39] * 4])
    np.testing.assert_array_equal(batch.images["front"].numpy(), rows.images["front"][[0, 39]])


def test_normalising_and_back(rows: Samples) -> None:
    chunk = torch.from_numpy(rows.action[chunk_rows(rows.episode, 5)])
    state = torch.from_numpy(rows.state)
    normaliser = Normaliser(rows.state_names, rows.action_names, rows.aux_names, ("pan.pos", "lift.pos"), 5)
    normaliser.fit(state, chunk, None)
    z = normaliser.encode_action(chunk, state)
    torch.testing.assert_close(z.mean(0), torch.zeros(5, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(5, 3), atol=1e-3, rtol=0)
    torch.testing.assert_close(normaliser.decode_action(z, state), chunk, atol=1e-5, rtol=0)
    # Relative: shifting state and goal together is the same action; the gripper is absolute.
    shift = torch.tensor([0.3, -0.2, 0.0])
    torch.testing.assert_close(normaliser.encode_action(chunk + shift, state + shift), z, atol=1e-4, rtol=0)


def test_a_joint_that_stood_still_is_not_blown_up() -> None:
    normaliser = Normaliser(("a",), ("a",), (), (), 1)
    normaliser.fit(torch.full((10, 1), 0.5), torch.full((10, 1, 1), 0.5), None)
    assert normaliser.state_std.item() == pytest.approx(FLOOR)
    assert normaliser.encode_state(torch.tensor([[2.0]])).item() == 5.0


def test_augmentation_keeps_range_shape_and_seed() -> None:
    images = torch.randint(0, 256, (6, 20, 24, 3), dtype=torch.uint8)
    augment = Augment(shift_px=2, share=1.0)
    one, two = (augment(images, torch.Generator().manual_seed(5)) for _ in range(2))
    assert one.shape == images.shape and one.min() >= -1 and one.max() <= 1
    assert torch.equal(one, two)
    assert not torch.equal(one, augment(images, torch.Generator().manual_seed(6)))
    nothing = Augment(0, 0.0, 0.0, 0.0, 0.0)
    assert not nothing.active
    torch.testing.assert_close(nothing(images, torch.Generator()), images.float() * (2 / 255) - 1)


def test_a_shift_moves_the_picture() -> None:
    images = torch.zeros((40, 9, 9, 3), dtype=torch.uint8)
    images[:, 4, 4] = 255
    augment, generator = Augment(2, 0.0, 0.0, 0.0, 0.0), torch.Generator().manual_seed(0)
    places = set()
    for _ in range(20):
        moved = augment(images, generator)
        assert (moved == 1).sum() == 3 * len(images)  # still one dot each
        at = moved[..., 0].flatten(1).argmax(1)
        places |= set(zip((at // 9).tolist(), (at % 9).tolist(), strict=True))
    assert len(places) > 15
    assert {row for row, _ in places} == {column for _, column in places} == {2, 3, 4, 5, 6}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": np.zeros((3, 3), np.float32)}, "state: shape"),
        ({"images": {"front": np.zeros((2, 4, 4, 3), np.uint8)}}, "camera 'front'"),
        ({"aux": None}, "aux: 2 names but no values"),
        ({"episode": np.array([0, 1] * 240)}, "must lie together"),
    ],
)
def test_rows_that_do_not_fit_are_named(rows: Samples, change: dict, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        replace(rows, **change).check()


def test_a_nan_is_named_with_its_row_and_column(rows: Samples) -> None:
    action = rows.action.copy()
    action[47, 1] = np.nan
    with pytest.raises(DatasetError, match=r"action: nan in 'lift.pos', row 47 \(episode 1\)"):
        replace(rows, action=action).check()


def with_extras(rows: Samples) -> Samples:
    """`rows` with two retakes of row 41 and one of row 3, and five views."""
    rng = np.random.default_rng(0)

    def pictures(n: int) -> dict[str, np.ndarray]:
        return {"front": rng.integers(0, 255, (n, dots.SIZE, dots.SIZE, 3)).astype(np.uint8)}

    return replace(
        rows,
        retakes=Retakes(np.array([41, 3, 41]), pictures(3)),
        views=Views(
            rng.normal(size=(5, 3)).astype(np.float32),
            pictures(5),
            rng.normal(size=(5, 2)).astype(np.float32),
        ),
    )


def test_retakes_show_their_row_anew_and_views_have_no_action(rows: Samples) -> None:
    more = with_extras(rows)
    more.check()
    assert more.retakes is not None and more.views is not None and rows.aux is not None
    batches = Batches(more, ("front",), 4, CPU, seed=1)
    n = len(rows.episode)
    assert batches.with_retakes(np.arange(40)).tolist() == [*range(40), n + 1]  # row 41 is of another episode
    batch = batches.at(np.array([3, n, n + 1]), views=batches.views[1:3])
    shown = [3, 41, 3]
    np.testing.assert_array_equal(batch.action.numpy(), rows.action[chunk_rows(rows.episode, 4)[shown]])
    np.testing.assert_array_equal(batch.state.numpy()[:3], rows.state[shown])
    np.testing.assert_array_equal(batch.state.numpy()[3:], more.views.state[1:3])
    assert batch.aux is not None
    np.testing.assert_array_equal(batch.aux.numpy(), np.concatenate([rows.aux[shown], more.views.aux[1:3]]))
    images = batch.images["front"].numpy()
    np.testing.assert_array_equal(images[0], rows.images["front"][3])
    np.testing.assert_array_equal(images[1:3], more.retakes.images["front"][:2])
    np.testing.assert_array_equal(images[3:], more.views.images["front"][1:3])


def test_extras_that_do_not_fit_are_named(rows: Samples) -> None:
    more = with_extras(rows)
    assert more.retakes is not None and more.views is not None
    with pytest.raises(DatasetError, match="retakes: rows from 3 to 9999"):
        replace(more, retakes=replace(more.retakes, row=np.array([3, 9999, 4]))).check()
    with pytest.raises(DatasetError, match="views of camera 'front': missing"):
        replace(more, views=replace(more.views, images={})).check()
    with pytest.raises(DatasetError, match="views: state and aux of shapes"):
        replace(more, views=replace(more.views, aux=more.views.aux[:, :1])).check()
    prints = {s.fingerprint() for s in (rows, more, replace(more, views=None), replace(more, retakes=None))}
    assert len(prints) == 4
