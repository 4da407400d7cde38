"""The pose prior: its density, its samples, and how it is learned."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from hmrlib import fitting, skeleton
from hmrlib.motion import prior as priors
from tests.gradients import gradient


@pytest.fixture(scope="module")
def shipped():
    return priors.load_prior()


@pytest.fixture(scope="module")
def samples(shipped):
    return shipped.sample(200, seed=3)


def test_samples_are_poses_without_a_root(samples):
    assert samples.shape == (200, 24, 3) and samples.dtype == np.float32
    assert np.isfinite(samples).all() and (samples[:, 0] == 0).all()
    assert samples[:, 1:].std(axis=0).min() > 0.001, "some joint never moves"


def test_the_same_seed_gives_the_same_samples(shipped, samples):
    np.testing.assert_array_equal(shipped.sample(200, seed=3), samples)
    assert np.abs(shipped.sample(200, seed=4) - samples).max() > 0.1


def test_samples_keep_the_joint_limits_and_out_of_the_body(shipped, samples):
    angles = np.asarray(priors.pose_angles(samples)).reshape(-1, 23, 3)
    assert (angles >= fitting.LEAST[1:] - 1e-3).all() and (angles <= fitting.MOST[1:] + 1e-3).all()
    assert priors.collision_depth(samples, shipped.joints).max() < 0.02


def test_angles_and_poses_are_inverse(samples):
    angles = np.asarray(priors.pose_angles(samples))
    np.testing.assert_allclose(priors.angles_pose(angles), samples, atol=2e-4)


@pytest.mark.backends
def test_log_density_is_scipys(shipped, samples):
    found = np.asarray(shipped.log_density(samples[:5]))
    angles = np.asarray(priors.pose_angles(samples[:5]), float)
    densities = [
        weight * multivariate_normal(mean, covariance).pdf(angles)
        for weight, mean, covariance in zip(
            shipped.weights, shipped.means, shipped.covariances, strict=True
        )
    ]
    np.testing.assert_allclose(found, np.log(np.sum(densities, axis=0)), rtol=1e-3, atol=0.05)


@pytest.mark.backends
def test_log_density_has_a_gradient_that_leads_uphill(shipped):
    pose = np.zeros((1, 24, 3), "float32")
    slope = gradient(lambda p: shipped.log_density(p)[0], pose)
    assert np.isfinite(slope).all() and np.abs(slope).max() > 1
    step = 1e-3 * slope / np.abs(slope).max()
    rise = float(shipped.log_density(pose + step)[0] - shipped.log_density(pose)[0])
    assert rise == pytest.approx(float((slope * step).sum()), rel=0.2)


def test_likely_poses_are_those_of_people(shipped):
    natural = np.stack([skeleton.pose_from_degrees(p) for p in skeleton.POSES.values()])
    broken = natural.copy()
    broken[:, skeleton.JOINT_NAMES.index("left_knee"), 0] = -1.2  # bent forwards
    assert (np.asarray(shipped.log_density(natural) - shipped.log_density(broken)) > 5).all()


def test_collisions_are_found(shipped):
    pose = np.zeros((2, 24, 3))
    through = {"left_shoulder": (0, 0, -95), "left_elbow": (0, -20, 0), "left_hip": (0, 0, 20)}
    pose[1] = skeleton.pose_from_degrees(through)
    depth = priors.collision_depth(pose, shipped.joints)
    assert depth[0] == 0 and depth[1] > 0.01


def test_the_card_says_where_it_comes_from(shipped):
    card = shipped.card
    assert "NSF EIA-0196217" in card["credit"] and card["missing"] and card["licence"]
    scores = card["log_likelihood_nats"]
    assert scores["training"] > scores["held_out"] > 0
    assert priors.ASSET.stat().st_size <= 3 * 2**20


def test_saving_and_loading_changes_little(shipped, samples, tmp_path):
    priors.save_prior(tmp_path / "prior.npz", shipped)
    again = priors.load_prior(tmp_path / "prior.npz")
    np.testing.assert_allclose(
        again.log_density(samples[:20]), shipped.log_density(samples[:20]), atol=0.5
    )


def test_a_mixture_is_found_again():
    rng = np.random.default_rng(0)
    label = rng.random(4000) < 0.3
    points = np.where(label[:, None], [[-2.0, 1.0]], [[2.0, 0.0]]) + 0.3 * rng.normal(
        size=(4000, 2)
    )
    weights, means, covariances = priors.fit_mixture(points, np.ones(4000), 2, 0, shrink=0.0)
    order = np.argsort(means[:, 0])
    np.testing.assert_allclose(weights[order], [0.3, 0.7], atol=0.03)
    np.testing.assert_allclose(means[order], [[-2, 1], [2, 0]], atol=0.05)
    np.testing.assert_allclose(covariances, 0.09 * np.tile(np.eye(2), (2, 1, 1)), atol=0.015)


def test_an_autoencoder_finds_the_density_of_points_in_a_plane():
    """4000 points near a tilted plane in space: both its mean and what no draw may claim."""
    rng = np.random.default_rng(0)
    axes = np.array([[1.0, 0.5, 0.2], [0.0, 1.0, -0.7]])
    covariance = axes.T @ axes + 0.05 * np.eye(3)
    points = rng.multivariate_normal([0.5, -1, 2], covariance, size=5000)
    model = priors.fit_autoencoder(points[:4000], np.ones(4000), 0, epochs=60)
    judged = points[4000:]
    truth = multivariate_normal([0.5, -1, 2], covariance).logpdf(judged).mean()
    found = priors.autoencoder_log_likelihood(judged, model).mean()
    assert truth - 0.25 < found < truth + 0.05
    bound = np.asarray(model(judged.astype("float32"))).mean()
    assert bound < found
    assert model.decode(np.zeros((2, model.codes), "float32")).shape == (2, 3)


def test_frames_of_a_common_pose_count_less():
    rng = np.random.default_rng(0)
    angles = 0.01 * rng.normal(size=(1000, 69))
    angles[900:] += 1
    weights = priors.balanced_weights(angles.astype("float32"), 0, clusters=2, flatten=1.0)
    assert weights[:900].sum() == pytest.approx(weights[900:].sum(), rel=0.01)


def test_whole_subjects_are_held_out():
    clips = np.array(["a/05_01.amc", "b/005_02.bvh", "b/07_01.amc", "salsa_01.bvh", "x/12_01.amc"])
    away = priors.held_out_split(clips, seed=0)
    assert 0 < away.sum() < len(clips)
    assert away[0] == away[1], "one subject under two names"


def test_learning_again_gives_the_same(tmp_path):
    rng = np.random.default_rng(0)
    pose = 0.2 * rng.normal(size=(400, 24, 3)).astype("float32")
    names = np.array([f"{n:02}_01.amc" for n in range(8)])
    library = tmp_path / "library.npz"
    clip = np.repeat(np.arange(8), 50)
    np.savez(library, pose=pose, clip=clip, clip_names=names, error=np.full(400, 0.01))
    made = [priors.train(library, tmp_path / f"{n}.npz", components=3, seed=1) for n in range(2)]
    np.testing.assert_array_equal(made[0].covariances, made[1].covariances)
    assert (tmp_path / "0.npz").read_bytes() == (tmp_path / "1.npz").read_bytes()


@pytest.mark.parametrize("content", [None, b"", b"no archive"])
def test_bad_files_are_named(tmp_path, content):
    path = tmp_path / "bad.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.npz: expected a pose prior"):
        priors.load_prior(path)
    with pytest.raises(ValueError, match=r"bad\.npz: expected a pose library"):
        priors.train(path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("means", lambda a: a * np.nan, "means holds NaN"),
        ("factors", lambda a: a + np.float16(np.inf), "factors holds NaN"),
        ("weights", lambda a: -a, "no mixture"),
        ("weights", lambda a: a[:0], "no mixture"),
        ("joints", lambda a: a[1:], "no mixture"),
        ("factors", lambda a: 0 * a, "no width"),
        ("means", lambda a: a.astype("U9"), "something else than numbers"),
        ("card", lambda a: np.array("[]"), "no object of JSON"),
        ("card", lambda a: np.array("{"), "Expecting"),
    ],
)
def test_a_prior_of_no_use_is_named(tmp_path, name, change, message):
    arrays = dict(np.load(priors.ASSET))
    np.savez(tmp_path / "bad.npz", **arrays | {name: change(arrays[name])})
    with pytest.raises(ValueError, match=rf"bad\.npz: expected a pose prior.*{message}"):
        priors.load_prior(tmp_path / "bad.npz")
