"""The surface of limbs, by values that can be worked out by hand."""

import numpy as np
import pytest

from trainer.data.hands.flesh import Limb
from trainer.data.hands.surface import trace
from trainer.data.hands.view import View

UPRIGHT = np.diag([1.0, -1.0, 1.0])


def seen_from(distance: float) -> View:
    """The origin in the middle of 100 x 100 pixels, 40 of them a unit."""
    return View(UPRIGHT, np.zeros(3), distance, 40.0, np.array((50.0, 50.0)))


def ball(place: tuple[float, float, float], radius: float) -> Limb:
    return Limb(np.array(place), np.array(place) + (0, 0, 1e-9), (radius, radius), part=0)


def test_a_point_nearer_to_the_camera_is_larger_and_further_from_the_middle() -> None:
    view = seen_from(4.0)
    points, scale = view.project(np.array([(0.5, 0.0, 0.0), (0.5, 0.25, 2.0)]))
    assert points[0] == pytest.approx((70, 50, 0))
    assert points[1] == pytest.approx((90, 30, 160 * np.log(2)))  # half the distance
    assert scale == pytest.approx((40, 80))


def test_the_depth_and_the_normals_of_a_ball() -> None:
    surface = trace([ball((0, 0, 0), 0.5)], seen_from(1e6), 100)
    rows, columns = surface.window
    row, column = 50 - rows.start, 50 - columns.start
    assert surface.depth[row, column] == pytest.approx(20, abs=0.1)
    assert surface.depth[row, column + 12] == pytest.approx(16, abs=0.1)  # 12, 16, 20
    assert surface.normal[:, row, column] == pytest.approx((0, 0, 1), abs=0.01)
    assert surface.normal[:, row + 12, column] == pytest.approx((0, 0.6, 0.8), abs=0.01)
    assert surface.cover[row, column + 19] == 1
    assert surface.cover[row, column + 22] == 0


def test_the_nearer_of_two_limbs_is_seen() -> None:
    surface = trace([ball((0, 0, 0), 0.5), ball((0.2, 0, 1), 0.3)], seen_from(1e6), 100)
    rows, columns = surface.window
    assert surface.limb[50 - rows.start, 58 - columns.start] == 1
    assert surface.limb[50 - rows.start, 34 - columns.start] == 0
    assert surface.depth[50 - rows.start, 58 - columns.start] == pytest.approx(52, abs=0.1)


def test_limbs_of_the_palm_flow_into_each_other() -> None:
    """Two balls that do not quite touch are one thing where they are soft."""
    apart = [ball((-0.41, 0, 0), 0.4), ball((0.41, 0, 0), 0.4)]
    middle = (50, 50)
    for part, covered in ((0, False), (5, True)):
        surface = trace([limb._replace(part=part) for limb in apart], seen_from(1e6), 100)
        rows, columns = surface.window
        cover = surface.cover[middle[0] - rows.start, middle[1] - columns.start]
        assert (cover > 0.9) is np.bool_(covered)
