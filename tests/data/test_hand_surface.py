"""The surface of limbs, by values that can be worked out by hand."""

import numpy as np
import pytest

from trainer.data.hands.flesh import Limb
from trainer.data.hands.light import Light, shade
from trainer.data.hands.skin import Material
from trainer.data.hands.surface import Surface, trace
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


def test_a_line_of_sight_that_passes_a_soft_limb_goes_on_to_what_is_behind() -> None:
    near = ball((0, 0, 2), 0.5)._replace(part=5)
    surface = trace([near, ball((0, 0, -2), 1.2)], seen_from(1e6), 100)
    rows, columns = surface.window
    row, column = 50 - rows.start, 50 - columns.start
    assert surface.depth[row, column + 12] == pytest.approx(80 + 16, abs=0.1)
    assert surface.limb[row, column + 21] == 1  # a pixel beside the one in front
    assert surface.depth[row, column + 21] == pytest.approx(-80 + (48**2 - 21**2) ** 0.5, abs=0.1)
    assert surface.cover[row, column + 21] == 1


def test_a_soft_limb_ends_within_a_pixel_and_a_quarter() -> None:
    surface = trace([ball((0, 0, 0), 0.5)._replace(part=5)], seen_from(1e6), 100)
    rows, columns = surface.window
    covers = surface.cover[50 - rows.start, 50 - columns.start :]
    assert covers[20] == 1
    assert covers[21] == pytest.approx(0.25, abs=0.05)
    assert covers[22] == 0


def test_two_soft_limbs_face_the_viewer_where_they_join() -> None:
    halves = [ball((x, 0, 0), 0.5)._replace(part=5) for x in (-0.2, 0.2)]
    surface = trace(halves, seen_from(1e6), 100)
    rows, columns = surface.window
    row, column = 50 - rows.start, 50 - columns.start
    assert surface.normal[:, row, column] == pytest.approx((0, 0, 1), abs=0.02)
    # Both are as near: exp(-d / b) twice is 1 where d = b log 2, here along a slope of 0.917.
    lifted = (400 - 64) ** 0.5 + 0.034 * 40 * np.log(2) / 0.917
    assert surface.depth[row, column] == pytest.approx(lifted, abs=0.1)


def test_what_holds_of_each_limb_is_known_where_it_is_seen() -> None:
    surface = trace([ball((-0.5, 0, 0), 0.3), ball((0.5, 0, 0), 0.3)], seen_from(1e6), 100)
    rows, columns = surface.window
    left, none, right = (x - columns.start for x in (30, 50, 70))
    row = 50 - rows.start
    assert surface.of([2.5, -1.0])[row, [left, none, right]].tolist() == [2.5, 0, -1]
    assert surface.of([True, False])[row, [left, none, right]].tolist() == [True, False, False]
    assert surface.of([True, False]).dtype == bool


def test_between_the_limbs_of_a_tiny_hand_there_is_nothing() -> None:
    view = View(UPRIGHT, np.zeros(3), 1e6, 5.0, np.array((8.0, 8.0)))
    surface = trace([ball((-1, 0, 0), 0.4), ball((1, 0, 0), 0.4)], view, 16)
    rows, columns = surface.window
    assert surface.cover[8 - rows.start, 8 - columns.start] == 0
    assert surface.cover[8 - rows.start, 3 - columns.start] == 1


@pytest.mark.parametrize("unit", [10.0, 40.0])
def test_what_stands_alone_is_equally_lit(unit: float) -> None:
    """A flat square far from the viewer: nothing is before it, so nothing darkens its rim."""
    cover = np.zeros((20, 20), np.float32)
    cover[4:14, 4:14] = 1
    ones = np.ones((20, 20), np.float32)
    normal, limb = np.stack([0 * ones, 0 * ones, ones]), np.zeros((20, 20), np.uint8)
    square = Surface((slice(0, 20),) * 2, unit, cover, -unit * ones, normal, limb, ones)
    skin = Material(np.full((3, 20, 20), 0.5, np.float32), 0 * ones, 0 * ones)
    lamp = Light(np.array((0.0, 0.0, 1.0)), np.ones(3), np.ones(3), 0.0)
    lit = shade(square, skin, lamp)[4:14, 4:14]
    assert lit == pytest.approx(np.full((10, 10, 3), lit[5, 5]), abs=0.5)
