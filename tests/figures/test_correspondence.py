"""The picture of an assignment."""

import numpy as np

from alignmixup.figures.correspondence import Match, draw_matches, position_colours, strongest


def test_corners_have_their_own_colours_and_the_middle_their_mean():
    colours = position_colours((3, 5)).reshape(3, 5, 3)
    corners = np.stack([colours[0, 0], colours[0, -1], colours[-1, 0], colours[-1, -1]])
    assert len(np.unique(corners, axis=0)) == 4
    np.testing.assert_allclose(colours[1, 2], corners.mean(0))
    assert position_colours((1, 1)).shape == (1, 3)


def test_the_strongest_matches_one_for_each_row():
    assignment = np.array([[0.2, 0.5, 0.3], [0.0, 0.1, 0.9], [0.7, 0.3, 0.0]])
    distance = np.zeros(3)
    assert strongest(assignment, distance, 2).tolist() == [[1, 2], [2, 0]]
    assert strongest(assignment, distance, 9).tolist() == [[1, 2], [2, 0], [0, 1]]
    assert strongest(assignment, distance, 0).shape == (0, 2)


def test_of_matches_alike_the_nearest_are_drawn():
    """A sharp plan is as sure of each position as of the next; the order of the positions says nothing."""
    permutation = np.eye(9)[np.random.default_rng(0).permutation(9)] * (1 - 1e-6 * np.arange(9)[:, None])
    distance = np.arange(9.0)[::-1]
    assert strongest(permutation, distance, 3)[:, 0].tolist() == [8, 7, 6]


def test_a_pair_is_a_row_with_its_lines_colours_and_doubt(tmp_path, drawn):
    match = Match(
        names=("a", "b"),
        images=np.random.default_rng(0).random((2, 8, 8, 3)),
        size=(2, 3),
        assignment=np.eye(6)[[3, 1, 0, 2, 5, 4]],
        distance=np.arange(6.0),
        entropy=np.linspace(0, 1, 6),
        caption="caption",
    )
    draw_matches([match, match], tmp_path / "a.png", lines=3, title="title")
    both, partner, first, doubt = drawn[0].axes[4:]
    assert [axes.get_xlabel() for axes in (both, partner, first, doubt)] == ["A: a, B: b", "B", "A", "caption"]
    assert len(both.lines) == 3
    assert both.images[0].get_array().shape == (8, 17, 3)
    assert np.asarray(doubt.images[0].get_array()).ravel().tolist() == match.entropy.tolist()
    # position 0 of A takes position 3 of B, below the first column: its colour lies over it
    tint = [np.asarray(axes.images[0].get_array()) for axes in (partner, first)]
    grey = [image.mean(axis=2, keepdims=True) for image in match.images[[1, 0]]]
    of_b, at_a = (0.25 * shade for shade in grey)
    np.testing.assert_allclose((tint[1] - at_a)[0, 0], (tint[0] - of_b)[7, 0], atol=1e-6)
