"""The exported folder, loaded by other people's implementations of the same equations."""

import numpy as np
import pytest

import hmrlib
from hmrlib.body import files

pytestmark = pytest.mark.slow

NUM_BODIES, NUM_BETAS = 100, 10
TOLERANCE = 1e-5  # metres


@pytest.fixture(scope="module")
def body():
    return hmrlib.load_body()


@pytest.fixture(scope="module")
def exported(body, tmp_path_factory):
    """The folder as `hmr body export --format pkl` writes it."""
    path = tmp_path_factory.mktemp("peers")
    body.save(path / "body.npz")
    files.export_for_peers(files.read_model(path / "body.npz"), path)
    return path


@pytest.fixture(scope="module")
def bodies():
    """betas (B, 10) and poses (B, 24, 3): every joint turned, some by more than 90 degrees."""
    rng = np.random.default_rng(0)
    betas = rng.normal(0, 1.5, (NUM_BODIES, NUM_BETAS)).astype(np.float32)
    poses = rng.normal(0, 0.5, (NUM_BODIES, 24, 3)).astype(np.float32)
    return betas, poses


@pytest.fixture(scope="module")
def ours(body, bodies):
    out = body(*bodies)
    return np.asarray(out.vertices), np.asarray(out.joints)


def assert_agrees(vertices, joints, ours):
    np.testing.assert_allclose(vertices, ours[0], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(joints, ours[1], rtol=0, atol=TOLERANCE)


def test_smplfitter(exported, bodies, ours):
    peer = pytest.importorskip("smplfitter.np", reason="pip install smplfitter, to compare with it")
    betas, poses = bodies
    model = peer.BodyModel("smpl", "neutral", model_root=str(exported / "smpl"))
    out = model(pose_rotvecs=poses.reshape(NUM_BODIES, 72), shape_betas=betas)
    assert_agrees(out["vertices"], out["joints"], ours)


def test_smplfitter_finds_the_folder_by_its_variable(exported, monkeypatch):
    peer = pytest.importorskip("smplfitter.np", reason="pip install smplfitter, to compare with it")
    monkeypatch.setenv("SMPLFITTER_BODY_MODELS", str(exported))
    assert peer.BodyModel("smpl", "neutral").num_joints == 24


def test_body_models(exported, bodies, ours):
    peer = pytest.importorskip(
        "body_models.smpl.numpy", reason="pip install body-models, to compare with it"
    )
    betas, poses = bodies
    model = peer.SMPL(model_path=str(exported / "smpl" / "SMPL_NEUTRAL.pkl"))
    pose = {"body_pose": poses[:, 1:], "pelvis_rotation": poses[:, 0], "shape": betas}
    vertices = model.forward_vertices(**pose)
    joints = model.forward_skeleton(**pose)[..., :3, 3]
    assert_agrees(vertices, joints, ours)


def test_smplx(exported, bodies, ours):
    smplx = pytest.importorskip("smplx", reason="pip install smplx torch, to compare with it")
    torch = pytest.importorskip("torch", reason="pip install smplx torch, to compare with it")
    betas, poses = (torch.from_numpy(array) for array in bodies)
    model = smplx.create(str(exported), model_type="smpl", gender="neutral", batch_size=NUM_BODIES)
    with torch.no_grad():
        out = model(
            betas=betas, global_orient=poses[:, 0], body_pose=poses[:, 1:].reshape(NUM_BODIES, 69)
        )
    assert_agrees(out.vertices.numpy(), out.joints[:, :24].numpy(), ours)
