"""Forward kinematics of the drawn hands, by values that can be worked out by hand."""

from itertools import pairwise

import numpy as np
import pytest

from trainer.data.hands import poses, skeleton
from trainer.data.hands.skeleton import Bone, Finger, Pose, Thumb

STRAIGHT = Finger(spread=0, knuckle=0, middle=0, end=0)
THUMB = Thumb(spread=0, lift=0, roll=90, knuckle=0, end=0)


def middle_finger(finger: Finger, length: float = 1.0) -> list[Bone]:
    """Its knuckle is at (0.11, 1, -0.03), its phalanges are 0.49, 0.31 and 0.20 long."""
    return skeleton.bones(Pose((STRAIGHT, finger, STRAIGHT, STRAIGHT), THUMB), length)[1]


def thumb(pose: Thumb) -> list[Bone]:
    """Its root is at (0.21, 0.13, 0.07), its bones are 0.46, 0.35 and 0.26 long."""
    return skeleton.bones(Pose((STRAIGHT,) * 4, pose))[4]


@pytest.mark.parametrize(
    ("finger", "tip"),
    [
        (STRAIGHT, (0.11, 2.0, -0.03)),
        (Finger(0, 90, 0, 0), (0.11, 1.0, 0.97)),  # straight out of the palm
        (Finger(0, 90, 90, 0), (0.11, 0.49, 0.46)),  # and back towards the wrist
        (Finger(0, 90, 60, 30), (0.11, 1 - 0.31 * np.sin(np.pi / 3) - 0.2, -0.03 + 0.49 + 0.155)),
        (Finger(20, 0, 0, 0), (0.11 + np.sin(np.pi / 9), 1 + np.cos(np.pi / 9), -0.03)),
    ],
)
def test_where_a_fingertip_comes_to_lie(finger: Finger, tip: tuple[float, float, float]) -> None:
    assert middle_finger(finger)[2].end == pytest.approx(tip)


def test_longer_fingers_start_at_the_same_knuckle() -> None:
    bones = middle_finger(STRAIGHT, 1.1)
    assert bones[0].start == pytest.approx((0.11, 1.0, -0.03))
    assert bones[2].end == pytest.approx((0.11, 2.1, -0.03))


def test_the_bones_of_a_chain_hang_together() -> None:
    for chain in skeleton.bones(poses.sample("rock", False, np.random.default_rng(0))):
        for one, other in pairwise(chain):
            assert np.array_equal(one.end, other.start)
        for bone in chain:
            assert bone.frame.T @ bone.frame == pytest.approx(np.eye(3))
            assert np.cross(bone.frame[:, 0], bone.frame[:, 1]) == pytest.approx(bone.frame[:, 2])


@pytest.mark.parametrize(
    ("pose", "tip", "pad"),
    [
        (THUMB, (0.21, 1.2, 0.07), (-1, 0, 0)),  # along the fingers, its pad towards them
        (THUMB._replace(roll=30), (0.21, 1.2, 0.07), (-0.5, 0, np.sqrt(0.75))),
        (THUMB._replace(spread=30), (0.745, 0.13 + 1.07 * np.sqrt(0.75), 0.07), None),
        (THUMB._replace(lift=30), (0.21, 0.13 + 1.07 * np.sqrt(0.75), 0.605), (-1, 0, 0)),
        (THUMB._replace(end=80), None, None),
    ],
)
def test_where_the_thumb_comes_to_lie(
    pose: Thumb, tip: tuple[float, ...] | None, pad: tuple[float, ...] | None
) -> None:
    last = thumb(pose)[2]
    if tip:
        assert last.end == pytest.approx(tip)
    if pad:
        assert last.frame[:, 2] == pytest.approx(pad)


def test_a_joint_stops_at_its_limit() -> None:
    far, limit = Finger(90, 180, 180, 180), Finger(25, 95, 112, 85)
    assert middle_finger(far)[2].end == pytest.approx(middle_finger(limit)[2].end)
    back, limit = Finger(-90, -90, -90, -90), Finger(-25, -25, 0, -8)
    assert middle_finger(back)[2].end == pytest.approx(middle_finger(limit)[2].end)
    assert thumb(Thumb(*[200] * 5))[2].end == pytest.approx(
        thumb(Thumb(75, 70, 160, 65, 85))[2].end
    )


@pytest.mark.parametrize("label", poses.CLASSES)
def test_poses_are_within_the_limits_and_show_their_class(label: str) -> None:
    draw = np.random.default_rng(0)
    stretched = {"paper": 4, "rock": 0, "scissors": 2}[label]
    for number in range(200):
        pose = poses.sample(label, number % 2 == 0, draw)
        assert pose == skeleton.within(pose)
        for place, finger in enumerate(pose.fingers):
            bend = finger.knuckle + finger.middle
            assert bend < 90 if place < stretched else bend > 75
