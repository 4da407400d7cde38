"""What the notebooks claim, held against the numbers and figures that their run left."""

import json

import numpy as np
import pytest
from PIL import Image

# number's name -> bounds that the notebook's text stands on
BOUNDS = {
    # 01: rotations
    "exp_error_textbook": (0.5, 2),
    "exp_error": (0, 2e-6),
    "log_lost_textbook": (20, 80),  # % of the angles
    "log_error": (0, 2e-6),
    "jump_axis_angle": (1, 6.3),
    "jump_6d": (0, 0.1),
    "hinge_error_apart": (100, 1000),  # mm
    "hinge_error_dual": (0, 0.01),
    "fk_by_hand_error": (0, 1e-3),  # mm: 1e-6 m
    "mirror_error": (0, 1e-2),
    # 02: the body function
    "num_vertices": (6890, 6890),
    "num_faces": (13776, 13776),
    "num_betas": (10, 300),
    "shape_displacement": (20, 300),  # mm
    "joint_shift": (10, 200),
    "corrective_displacement": (1, 60),
    "lbs_by_hand_error": (0, 1e-2),
    "beta_sum_error": (0, 1e-2),
    "twist_radius_lbs": (0, 15),  # %
    "twist_radius_dqs": (99, 101),
    "twist_volume_lost_lbs": (50, 500),  # ml
    "twist_volume_lost_dqs": (-20, 20),
    "ik_start": (300, 1500),  # mm
    "ik_end": (0, 20),
    "save_error": (0, 0.01),
}

# figure's name -> least (width, height) in pixels
SIZES = {
    "rotation_arrow": (1200, 500),
    "rotation_stability": (1200, 500),
    "quaternion_double_cover": (1200, 500),
    "rotation_continuity": (1200, 400),
    "screw_motion": (1200, 500),
    "skeleton": (1000, 900),
    "forward_kinematics": (900, 500),
    "keypoint_sets": (1200, 400),
    "mirror": (900, 400),
    "body_template": (1200, 500),
    "body_close_ups": (800, 500),
    "joints_follow_shape": (1000, 400),
    "pose_correctives": (900, 400),
    "skinning_weights": (1000, 250),
    "body_terms": (900, 600),
    "beta_grid": (900, 600),
    "shape_population": (1000, 400),
    "skinning_twist": (900, 900),
    "skinning_close_ups": (900, 1000),
    "natural_poses": (1000, 400),
    "gradient_lever": (800, 350),
    "inverse_kinematics": (1000, 250),
    "banner": (1500, 550),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_number_is_within_its_bounds(notebook_numbers, name):
    low, high = BOUNDS[name]
    assert low <= notebook_numbers[name] <= high


def test_stable_formulas_beat_the_textbook(notebook_numbers):
    assert notebook_numbers["exp_error"] < 1e-5 * notebook_numbers["exp_error_textbook"]


@pytest.mark.parametrize("name", SIZES)
def test_figure_is_there_and_legible(executed, name):
    (path,) = (folder / f"{name}.png" for folder in executed.values() if _has(folder, name))
    image = Image.open(path).convert("RGB")
    width, height = SIZES[name]
    assert image.width >= width and image.height >= height
    assert path.stat().st_size <= 300_000
    thumbnail = np.asarray(image.resize((64, 64))).reshape(-1, 3)
    assert len(np.unique(thumbnail, axis=0)) > 50, "nearly empty"


def _has(folder, name):
    return (folder / f"{name}.figure.json").exists()


def test_captions_are_sentences(executed):
    for folder in executed.values():
        for path in folder.glob("*.figure.json"):
            caption = json.loads(path.read_text("utf-8"))["caption"]
            assert len(caption) > 20 and caption.endswith("."), path.name
