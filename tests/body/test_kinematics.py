"""The body in NumPy: parity with the plain reference, in both precisions, and sums in one order."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hmrlib
from hmrlib.body import kinematics
from tests.reference import homogeneous_transforms, posed_body


@pytest.fixture(scope="module")
def body():
    return hmrlib.load_body()


@pytest.fixture
def people(body):
    """Four random bodies: betas (4, S), pose (4, 72), rotations, joints at rest."""
    rng = np.random.default_rng(0)
    betas, pose = rng.normal(size=(4, body.num_betas)), rng.normal(scale=0.5, size=(4, 72))
    rotations = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(4, 24, 3, 3)
    shaped = body.v_template + np.einsum("vcs,bs->bvc", body.shapedirs, betas)
    return betas, pose, rotations, np.stack([body.J_regressor @ one for one in shaped])


def test_forward_kinematics_is_the_chain_of_homogeneous_matrices(body, people):
    _, _, rotations, rest = people
    joints, world, _ = kinematics.joint_motions(rotations, rest, body.parents)
    for i in range(4):
        expected = homogeneous_transforms(rotations[i], rest[i], body.parents)
        np.testing.assert_allclose(world[i], expected[:, :3, :3], atol=1e-12)
        np.testing.assert_allclose(joints[i], expected[:, :3, 3], atol=1e-12)


def test_one_skeleton_for_all_poses_is_as_one_for_each(body, people):
    _, _, rotations, rest = people
    each = kinematics.joint_motions(rotations, np.repeat(rest[:1], 4, axis=0), body.parents)
    for found, wanted in zip(
        kinematics.joint_motions(rotations, rest[0], body.parents), each, strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-6), ("float32", 5e-6)])
def test_skinning_is_the_papers_function(body, people, dtype, close):
    betas, pose, rotations, rest = people
    shaped = body.v_template + np.einsum("vcs,bs->bvc", body.shapedirs.astype(float), betas)
    offsets = kinematics.pose_feature(rotations) @ body.posedirs.reshape(-1, 207).T
    vertices = (shaped + offsets.reshape(shaped.shape)).astype(dtype)
    motions = kinematics.joint_motions(rotations, rest, body.parents)
    turns, shifts = motions.rotations.astype(dtype), motions.translations.astype(dtype)
    weights = kinematics.Weights.of(body.weights.astype(dtype))
    blended = kinematics.blended_motions(weights, turns, shifts)  # (4, V, 3, 4)
    by_hand = np.einsum("bvcd,bvd->bvc", blended[..., :3], vertices) + blended[..., 3]
    found = kinematics.linear_blend_skinning(vertices, weights, turns, shifts)
    assert found is vertices and found.dtype == dtype
    np.testing.assert_allclose(found, by_hand, atol=close)
    for i in range(4):
        expected, _ = posed_body(body, betas[i], pose[i])
        np.testing.assert_allclose(found[i], expected, atol=close)


@pytest.mark.parametrize("least", [0.0, -0.01])
def test_weights_keep_all_that_moves_a_vertex_strongest_first(body, least):
    weights = np.where(body.weights == 0, 0, body.weights + least)
    movers, shares = kinematics.Weights.of(weights)
    assert (np.diff(np.abs(shares), axis=1) <= 0).all()
    table = np.zeros_like(weights)
    np.put_along_axis(table, movers.astype(int), shares, axis=1)
    np.testing.assert_array_equal(table, weights)
    assert (weights.min() < 0) == (least < 0)


def test_sums_are_in_one_order(body, people):
    """The same bits as sums of single numbers in the order of the movers."""
    _, _, rotations, rest = people
    _, turns, shifts = kinematics.joint_motions(rotations, rest, body.parents)
    movers, shares = weights = kinematics.Weights.of(body.weights.astype(float))
    found = kinematics.blended_motions(weights, turns, shifts)
    v = int((shares > 0).sum(axis=1).argmax())
    expected = np.zeros((4, 3, 4))
    for joint, share in zip(movers[v], shares[v], strict=True):
        expected += share * np.concatenate([turns, shifts[..., None]], -1)[:, joint]
    np.testing.assert_array_equal(found[:, v], expected)


def test_the_whole_body_is_that_of_keras(rng):
    body = hmrlib.load_body()
    betas, pose = rng.normal(size=(3, 10)), rng.normal(0, 0.4, (3, 24, 3))
    expected = body(betas, pose, compiles=False)
    for found, true in zip(kinematics.posed_body(body, betas, pose), expected, strict=True):
        np.testing.assert_allclose(found, np.asarray(true), atol=3e-6)
