"""What the notebooks claim, held against the numbers and figures that their run left."""

import json

import numpy as np
import pytest
from PIL import Image

# number's name -> bounds that the notebook's text stands on
BOUNDS = {
    # 00: start here
    "start_height": (130, 210),  # cm
    # 01: rotations
    "exp_error_textbook": (50, 200),  # %
    "exp_error": (0, 2),  # ppm
    "log_lost_textbook": (20, 80),  # % of the angles
    "log_error": (0, 2),  # µrad
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
    "corrective_displacement": (1, 100),
    "lbs_by_hand_error": (0, 1e-2),
    "beta_sum_error": (0, 1e-2),
    "twist_radius_lbs": (0, 15),  # %
    "twist_radius_dqs": (99, 101),
    "twist_volume_lost_lbs": (50, 500),  # ml
    "twist_volume_lost_dqs": (-20, 20),
    "ik_start": (300, 1500),  # mm
    "ik_end": (0, 20),
    "save_error": (0, 0.01),
    # 03: learning a body
    "num_targets": (300, 2000),
    "mesh_vertices": (6890, 6890),
    "mesh_faces": (13776, 13776),
    "mesh_euler": (2, 2),
    "mesh_asymmetry": (0, 0),
    "mesh_crossings": (0, 0),
    "mesh_quality": (0.8, 1),
    "mesh_distance": (0, 0.3),  # mm
    "stature_women_off": (0, 10),  # mm
    "stature_men_off": (0, 10),
    "weight_women_off": (0, 3),  # kg
    "weight_men_off": (0, 3),
    "arm_angle_a_pose": (0.3, 5),  # degrees
    "arm_angle_t_pose": (0, 1e-6),
    "shape_error_10": (1, 8),  # mm
    "shape_error_20": (1, 5.5),
    "shipped_shape_error_10": (1, 6.5),
    "shipped_shape_error_20": (1, 3.8),
    "explained_10": (95, 99.9),  # %
    "regressor_nonzeros": (24, 1500),
    "joint_error": (0, 5),  # mm
    "joint_error_knee": (0, 4),
    "joint_error_elbow": (0, 4),
    "shipped_joint_error": (0, 5),
    "most_weights": (2, 4),
    "loss_by_definition": (0, 1),  # ppm
    "loss_gradient_closed": (0, 1),
    "gradient_closed_apart": (0, 1),  # nm
    "gradient_steps": (1, 15),
    "pose_error_lbs": (3.5, 8),  # mm
    "pose_error_ratio": (3, 100),
    "own_file_error": (0, 0.01),  # mm
    "template_gap": (0, 8),
    "beta_cosine_0": (0.98, 1.001),
    "beta_cosine_1": (0.9, 1.001),
    "beta_cosine_2": (0.9, 1.001),
    # 11: play
    "play_correctives": (20, 150),  # mm
    "page_size": (1, 6),  # MB
    # 05: synthetic people
    "recipe_size": (2, 30),  # kB
    "cut_error": (0, 1e-3),  # mm
    "synthetic_projection": (0, 0.01),  # px
    "synthetic_body": (0, 20),  # µm
    "synthetic_agreement": (96, 100),  # %
    "spectral_slope": (-1.8, -0.8),
    "photograph_slope": (-1.8, -0.8),
    "synthetic_record": (8, 60),  # kB
    "replay_difference": (0, 0),
    # 06: data sets
    "data_projection": (0, 0.01),  # px
    "record_bytes": (1000, 60_000),
    "records_recovered": (10, 58),
    "augment_inverse": (0, 1e-4),  # px
    "augment_moved": (20, 1000),
    "augment_inverse_pose": (0, 1e-3),  # degrees
    "augment_projection": (0, 0.01),  # px
    "augment_body": (0, 0.1),  # mm
    "share_with_3d": (50, 50),  # %
    "pipeline_rate": (0, np.inf),  # how fast a machine is, is no claim
    "pipeline_rate_threads": (0, np.inf),
    "pipeline_cost": (0, np.inf),
    # 04: motion and the pose prior
    "bvh_error": (0, 0.1),  # mm: the file holds four decimals of centimetres and degrees
    "gauss_newton_start": (20, 500),
    "gauss_newton_end": (0, 1),
    "retarget_error": (0, 12),
    "library_clips": (150, 1000),
    "library_frames": (30_000, 1_000_000),
    "library_error": (2, 25),
    "knee_without_limits": (-90, -50),  # degrees
    "knee_with_limits": (-12, 60),
    "samples_within_limits": (100, 100),  # %
    "samples_colliding": (0, 3),
    "knee_log_ratio": (3, 10_000),  # nats
    "mixture_components": (1, 64),
    "shipped_components": (16, 512),
    "prior_size": (0.05, 3),  # MiB
    "smplify_start": (5, 100),  # pixels
    "smplify_end": (0, 4),
    "smplify_free_end": (0, 4),
    "smplify_error": (5, 130),  # mm
    "smplify_log_ratio": (20, 100_000),  # nats
    # 07: encoder and regressor
    "hopper_class": (652, 652),
    "hopper_share": (20, 100),  # %
    "ief_by_hand": (0, 10),  # ppm
    "theta_6d": (157, 157),
    "mean_6d_error": (0, 10),  # ppm
    "located_by_hand": (0, 0.1),  # px of 192
    "full_image_far": (0, 1.5),  # px
    # 08: adversary and training
    "reprojection_by_hand": (0, 1),  # ppm
    "joints_3d_by_hand": (0, 1),
    "heads_that_notice_a_joint": (2, 2),
    "pixels_without": (0, 5),  # of a crop of 128
    "pixels_with": (0, 5),
    # 09: evaluation
    "strangers_pa_mpjpe_network": (40, 110),  # mm
    "strangers_mpjpe_network": (60, 165),
    "strangers_pve_network": (60, 185),
    "strangers_pck_network": (75, 100),  # %
}

# figure's name -> least (width, height) in pixels
SIZES = {
    "start_turntable": (1200, 200),
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
    "makehuman_targets": (1100, 400),
    "mesh_steps": (900, 440),
    "mesh_before_after": (800, 700),
    "mesh_quality": (1200, 350),
    "population_resampled": (1200, 500),
    "population_sizes": (1200, 400),
    "population_members": (1000, 600),
    "rest_pose": (1000, 250),
    "shape_error": (1200, 400),
    "learned_betas": (900, 600),
    "beta_meaning": (900, 500),
    "joint_regressor": (1000, 500),
    "joint_error": (1000, 500),
    "learned_weights": (1100, 250),
    "target_deformer": (1000, 600),
    "training_poses": (1200, 200),
    "correctives_loss": (1200, 400),
    "correctives_by_joint": (1200, 450),
    "correctives_held_out": (1100, 300),
    "own_body": (1200, 450),
    "motion_played": (1000, 300),
    "gauss_newton": (700, 350),
    "motion_retargeted": (1000, 300),
    "joint_limits": (1000, 450),
    "prior_samples": (1400, 400),
    "prior_along_lines": (1000, 350),
    "mixture_against_vae": (1000, 550),
    "smplify_stages": (1000, 250),
    "smplify_monsters": (600, 400),
    "play_terms": (1200, 400),
    "play_joints": (900, 700),
    "play_people": (1000, 700),
    "play_poses": (1200, 250),
    "garment_fields": (1500, 900),
    "dressing": (1400, 450),
    "looseness": (1400, 450),
    "patterns": (1500, 200),
    "folds": (1500, 400),
    "heads": (1400, 500),
    "light": (1500, 400),
    "places": (1500, 400),
    "lens": (1400, 700),
    "labels": (1200, 600),
    "synthetic_people": (1100, 800),
    "spectrum": (800, 500),
    "sample_labels": (1400, 450),
    "data_sets_known": (1200, 500),
    "keypoint_coverage": (1200, 450),
    "augmentations": (1200, 450),
    "augmented_colours": (1100, 300),
    "batch_plan": (1200, 400),
    "encoder_maps": (1200, 200),
    "overfit_curves": (1000, 350),
    "three_iterations": (900, 700),
    "full_image_camera": (900, 250),
    "keypoint_maps": (1200, 300),
    "label_losses": (1200, 450),
    "adversary_heads": (900, 800),
    "adversary_cost": (800, 400),
    "adversary_curves": (1200, 400),
    "monsters": (1200, 800),
    "adversary_answers": (1200, 400),
    "worst_monsters": (1200, 500),
    "what_errors_forgive": (1000, 350),
    "strangers_curves": (1000, 350),
    "strangers": (1000, 800),
    "where_it_fails": (1200, 400),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_number_is_within_its_bounds(notebook_numbers, name):
    low, high = BOUNDS[name]
    assert low <= notebook_numbers[name] <= high


@pytest.mark.parametrize("name", SIZES)
def test_figure_is_there_and_legible(notebook_figures, name):
    folder = notebook_figures[name]
    record = json.loads((folder / f"{name}.figure.json").read_text("utf-8"))
    path = folder / record["file"]
    image = Image.open(path).convert("RGB")
    width, height = SIZES[name]
    assert image.width >= width and image.height >= height
    assert path.stat().st_size <= 300_000
    thumbnail = np.asarray(image.resize((64, 64))).reshape(-1, 3)
    assert len(np.unique(thumbnail, axis=0)) > 50, "nearly empty"


def test_the_network_beats_the_mean_body_on_strangers(notebook_numbers):
    share = {"pa_mpjpe": 0.95, "mpjpe": 0.75, "pve": 0.75}  # at most
    for name, most in share.items():
        network, mean = (notebook_numbers[f"strangers_{name}_{who}"] for who in ("network", "mean"))
        assert network < most * mean, name


def test_browser_shows_what_python_computes(photographed):
    if not photographed:
        pytest.skip("no browser was there when the notebooks were run; install chromium")
    (folder,) = photographed.values()
    values = {
        path.name.removesuffix(".number.json"): json.loads(path.read_text("utf-8"))["value"]
        for path in folder.glob("*.number.json")
    }
    assert values["browser_error"] < 100  # µm
    assert values["browser_overlap"] >= 98  # %
    for name in ("browser_page", "browser_app", "browser_lab"):
        with Image.open(folder / f"{name}.png") as image:
            assert image.width >= 1000 and image.height >= 800
        assert (folder / f"{name}.png").stat().st_size <= 300_000


def test_captions_are_sentences(executed):
    for folder in executed.values():
        for path in folder.glob("*.figure.json"):
            caption = json.loads(path.read_text("utf-8"))["caption"]
            assert len(caption) > 20 and caption.endswith("."), path.name


def test_more_betas_and_more_bodies_leave_less_error(notebook_numbers):
    numbers = notebook_numbers
    assert numbers["shape_error_20"] < 0.8 * numbers["shape_error_10"]
    for count in (10, 20):
        assert numbers[f"shipped_shape_error_{count}"] < 1.05 * numbers[f"shape_error_{count}"]


def test_correctives_beat_either_skinning(notebook_numbers):
    for body in ("", "shipped_"):
        lbs, dqs, corrected = (
            notebook_numbers[f"{body}pose_error_{way}"] for way in ("lbs", "dqs", "correctives")
        )
        assert 3 * corrected < min(lbs, dqs)


def test_three_corrections_bring_the_body_to_the_keypoints(notebook_numbers):
    assert notebook_numbers["pixels_third"] < 0.5 * notebook_numbers["pixels_mean"]
    assert notebook_numbers["full_image_far"] < notebook_numbers["full_image_near"]


def test_the_adversary_keeps_bodies_human(notebook_numbers):
    numbers = notebook_numbers
    true = numbers["pose_log_density_true"]
    assert numbers["pose_log_density_without"] < numbers["pose_log_density_with"] < true
    assert numbers["joints_beyond_limits_with"] < 0.85 * numbers["joints_beyond_limits_without"]
    assert numbers["mean_beta_with"] < 0.85 * numbers["mean_beta_without"]
    for who in ("with", "real"):  # most heads answer about one half
        assert abs(numbers[f"score_{who}"] - 0.5) < 0.2
