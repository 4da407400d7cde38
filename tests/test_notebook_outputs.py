"""What the notebooks claim, held against the numbers and figures that their run left."""

import json

import numpy as np
import pytest
from PIL import Image

from hmrlib import report

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


def test_numbers_keep_to_the_bounds_that_they_came_with(executed):
    records = {
        path.name.removesuffix(".number.json"): json.loads(path.read_text("utf-8"))
        for folder in executed.values()
        for path in folder.glob("*.number.json")
    }
    assert any("expect" in record for record in records.values())
    outside = {name: record for name, record in records.items() if not report.within(record)}
    assert not outside


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
    assert numbers["mean_beta_with"] < 0.85 * numbers["mean_beta_without"]
    for who in ("with", "real"):  # most heads answer about one half
        assert abs(numbers[f"score_{who}"] - 0.5) < 0.2
