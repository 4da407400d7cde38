import contextlib
import importlib
import io
import json
import os
import pathlib
import pkgutil
import platform
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import psutil
import pytest
from numpy._core import _multiarray_umath as umath
from PIL import Image
from scipy.spatial import cKDTree

import hmrlib
from hmrlib.camera import Camera, look_at
from hmrlib.data import records
from hmrlib.io import read_npz
from hmrlib.people import (
    backdrop,
    bodies,
    draw_recipe,
    dress,
    environment,
    fabric,
    garments,
    measures,
    outfits,
    photographs,
    pictures,
    pose_pool,
    render_people,
    render_samples,
)
from hmrlib.people.lens import camera_effects
from hmrlib.people.recipe import Garment, Lens, Object, Path, Recipe
from hmrlib.people.scene import PERSON, aim_camera, arrange, build_scene
from hmrlib.render import mipmap, render_scene
from hmrlib.skeleton import KEYPOINT_SETS, POSES, pose_from_degrees

pytestmark = pytest.mark.slow

COUNT = 12
OLD = pathlib.Path(__file__).parent / "people.npz"  # recipes and samples of DRAWING 6


@pytest.fixture(scope="module")
def pool():
    return pose_pool()


@pytest.fixture(scope="module")
def recipes(pool):
    return [draw_recipe(5, i, pool) for i in range(COUNT)]


@pytest.fixture(scope="module")
def samples(recipes):
    return list(render_samples(recipes))


@pytest.fixture(scope="module")
def tailor():
    return measures.measure(hmrlib.load_body())


def decoded(sample):
    return np.asarray(Image.open(io.BytesIO(sample["image"])))


def same(a, b):
    return a["image"] == b["image"] and all(
        np.array_equal(a[name], b[name]) for name in ("keypoints_2d", "pose", "segmentation")
    )


# --- recipes --------------------------------------------------------------------------------


def test_a_recipe_is_plain_and_drawn_from_its_seed_alone(pool, recipes):
    assert draw_recipe(5, 3, pool) == recipes[3]
    assert draw_recipe(5, 4, pool).people != recipes[3].people
    assert draw_recipe(6, 3, pool).people != recipes[3].people


def test_a_recipe_comes_back_from_json(recipes):
    for recipe in recipes:
        assert Recipe.from_json(recipe.to_json()) == recipe
        assert Recipe.from_json(json.dumps(json.loads(recipe.to_json()))) == recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plain: plain.pop("lens"), "without 'lens'"),
        (lambda plain: plain["lens"].update(zoom=2), "Lens has no 'zoom'"),
        (lambda plain: plain["people"][0].update(outfit="suit"), "expected a Outfit"),
        (lambda plain: plain["place"]["bounds"].pop(), "floor, ceiling, west"),
    ],
)
def test_what_is_no_recipe_is_an_error(recipes, change, message):
    plain = json.loads(recipes[0].to_json())
    change(plain)
    with pytest.raises(ValueError, match=message):
        Recipe.from_json(json.dumps(plain))
    with pytest.raises(ValueError, match="no JSON"):
        Recipe.from_json(recipes[0].to_json()[:-1])


def test_recipes_of_former_times_give_their_pictures():
    """Drawn in DRAWING 6: their numbers, and their samples, up to rounding and the JPEG."""
    with np.load(OLD) as old:
        old = dict(old)
    recipes = [Recipe.from_json(str(text)) for text in old["recipes"]]
    for recipe, text in zip(recipes, old["recipes"], strict=True):
        assert not missing(json.loads(str(text)), json.loads(recipe.to_json()))
    for i, sample in enumerate(render_samples(recipes, 96)):
        small = decoded(sample).reshape(24, 4, 24, 4, 3).mean((1, 3))
        assert np.abs(small - old["images"][i]).max() < 8
        assert (sample["segmentation"][::4, ::4] == old["segmentations"][i]).mean() > 0.99
        for name in ("keypoints_2d", "keypoints_3d", "pose", "translation", "occluded"):
            np.testing.assert_allclose(sample[name], old[name][i], rtol=1e-5, atol=1e-4)


def missing(old, new):
    """Whether something of JSON is not in the newer one, or otherwise."""
    if isinstance(old, dict):
        return any(name not in new or missing(part, new[name]) for name, part in old.items())
    if isinstance(old, list):
        return len(old) != len(new) or any(map(missing, old, new))
    return old != new


def test_a_stored_recipe_gives_the_same_sample(samples):
    again = list(render_samples([Recipe.from_json(samples[4]["recipe"])]))
    assert same(again[0], samples[4])


def test_samples_are_whole(pool):
    """None of many breaks the schema, and hardly any hides its person."""
    recipes = [draw_recipe(0, i, pool) for i in range(320, 420)]
    seen = []
    for sample in render_samples(recipes, 48):
        records.check_sample(sample)
        seen.append((sample["keypoints_2d"][:, 2] > sample["occluded"]).sum())
    assert np.mean(np.array(seen) >= pictures.LEAST_SEEN) > 0.97


def test_a_sample_does_not_depend_on_its_neighbours(recipes, samples):
    turned = list(render_samples(recipes[::-1]))[::-1]
    assert all(same(a, b) for a, b in zip(turned, samples, strict=True))


def test_recipes_vary(pool):
    drawn = [draw_recipe(0, i, pool) for i in range(300)]
    kinds = Counter(recipe.environment.kind for recipe in drawn)
    assert set(kinds) == set(environment.ENVIRONMENTS)
    assert 0.2 < np.mean([len(recipe.people) > 1 for recipe in drawn]) < 0.5
    betas = np.array([recipe.people[0].betas for recipe in drawn])
    assert 0.9 < betas.std() < 1.4 and np.abs(betas.mean(0)).max() < 0.3
    tones = [recipe.people[0].outfit.skin.tone for recipe in drawn]
    assert np.percentile(tones, 10) < 0.2 and np.percentile(tones, 90) > 0.7
    worn = Counter(garment.kind for recipe in drawn for garment in recipe.people[0].outfit.garments)
    assert set(worn) >= {"upper", "lower", "tube", "shoes", "hair", "cap", "beard", "briefs"}


def test_a_pool_stands_on_its_feet(pool):
    body = hmrlib.load_body()
    out = body(pose=pool[:64])
    joints = np.asarray(out.joints)
    up = joints[:, measures.J["head"]] - joints[:, [7, 8]].mean(1)
    assert np.median(np.degrees(np.arccos(up[:, 1] / np.linalg.norm(up, axis=1)))) < 12


# --- labels ---------------------------------------------------------------------------------


def test_samples_keep_the_schema(samples):
    for sample in samples:
        checked = records.check_sample(sample)
        assert checked["has_pose"] and checked["has_betas"] and checked["has_camera"]
        assert decoded(sample).shape == (224, 224, 3)
    assert len({sample["id"] for sample in samples}) == COUNT


def test_keypoints_project_onto_themselves(samples):
    for sample in samples:
        focal, cx, cy = sample["camera"]
        points = sample["keypoints_3d"][:, :3]
        pixels = points[:, :2] / points[:, 2:] * focal + (cx, cy)
        assert np.abs(pixels - sample["keypoints_2d"][:, :2]).max() <= 0.01


def test_the_body_of_the_labels_is_the_one_in_the_picture(samples):
    body = hmrlib.load_body()
    out = body(
        np.array([sample["betas"] for sample in samples]),
        np.array([sample["pose"] for sample in samples]),
        np.array([sample["translation"] for sample in samples]),
    )
    points = np.asarray(body.keypoints(out))
    for sample, own in zip(samples, points, strict=True):
        assert np.abs(own - sample["keypoints_3d"][:, :3]).max() < 2e-5
        focal, cx, cy = sample["camera"]
        pixels = own[:, :2] / own[:, 2:] * focal + (cx, cy)
        assert np.abs(pixels - sample["keypoints_2d"][:, :2]).max() <= 0.01


def test_people_are_posed_as_the_body_poses_them(recipes):
    people = [person for recipe in recipes for person in recipe.people]
    posed, body = bodies.pose_people(people), hmrlib.load_body()
    out = body(
        np.array([person.betas for person in people]),
        np.array([person.pose for person in people]),
    )
    assert np.abs(posed.vertices() - np.asarray(out.vertices)).max() < 1e-5
    kept = bodies.measurements(is_near=False).kept
    assert np.abs(posed.few - np.asarray(out.vertices)[:, kept]).max() < 1e-5
    assert np.abs(posed.joints - np.asarray(out.joints)).max() < 1e-5
    assert np.abs(posed.keypoints - np.asarray(body.keypoints(out))).max() < 1e-5


def test_segmentation_agrees_with_visible_keypoints(samples):
    on_person, seen = 0, 0
    for sample in samples:
        for (x, y, known), hidden in zip(sample["keypoints_2d"], sample["occluded"], strict=True):
            if not known or hidden:
                continue
            rows = slice(max(int(y) - 2, 0), int(y) + 3)
            near = sample["segmentation"][rows, max(int(x) - 2, 0) : int(x) + 3]
            seen += 1
            on_person += (near == PERSON).any()
    assert seen > 100 and on_person / seen > 0.97


def test_the_box_holds_the_person(samples):
    for sample in samples:
        rows, columns = np.nonzero(sample["segmentation"] == PERSON)
        assert len(rows) > 50
        half = sample["size"] / 2 + 12  # clothes and hair stand off the body
        assert (np.abs(columns + 0.5 - sample["center"][0]) < half).all()
        assert (np.abs(rows + 0.5 - sample["center"][1]) < half).all()


def wall_in_front(recipe):
    """The recipe with a cabinet before the person, larger than the picture."""
    camera = recipe.camera
    at = [0.5 * camera.distance * f(camera.turn) for f in (np.sin, np.cos)]
    wall = Object("cabinet", "planks", [1, 1, 1], 0, at, camera.turn, 6.0)
    return replace(recipe, objects=(wall,), people=recipe.people[:1])


def built(recipe, size=224):
    """Scene and `Known` of one recipe."""
    posed = bodies.pose_people(recipe.people)
    layout = arrange(recipe, posed, np.arange(len(recipe.people)), size)
    vertices = dict(zip(layout.near, posed.vertices(layout.near), strict=True))
    return build_scene(recipe, posed, layout, vertices)


def test_what_stands_in_front_hides(recipes):
    recipe = next(r for r in recipes if r.camera.distance > 4 and r.environment.sky)
    recipe = wall_in_front(recipe)
    sample = pictures.photograph(recipe, *built(recipe))
    known = sample["keypoints_2d"][:, 2] > 0
    assert known.sum() > 5 and sample["occluded"][known].all()
    assert (sample["segmentation"] != PERSON).all()
    (sample,) = render_samples([recipe])  # such a sample teaches nothing: the wall goes
    assert (sample["keypoints_2d"][:, 2] > sample["occluded"]).sum() >= pictures.LEAST_SEEN


def test_facing_away_hides_the_face(pool):
    recipe = draw_recipe(1, 0, pool)
    standing = pose_from_degrees(POSES["standing"])
    names = KEYPOINT_SETS["union-22"].names
    hidden = {}
    for turn in (0.0, np.pi):
        standing[0] = [0, turn, 0]
        camera = replace(recipe.camera, turn=0.0, zoom=1.3, roll=0, aim=[0, 0])
        camera = replace(camera, height=1.2, shift=[0, 0], distance=3.5)
        person = recipe.people[0]
        bare = replace(person.outfit, garments=(), extras=())
        person = replace(person, pose=standing.tolist(), lift=0.0, outfit=bare)
        meadow = environment.draw_environment("meadow", np.random.default_rng(0))
        alone = replace(recipe, people=(person,), objects=(), camera=camera, environment=meadow)
        (sample,) = render_samples([alone])
        hidden[turn] = dict(zip(names, sample["occluded"], strict=True))
    assert not hidden[0.0]["nose"] and hidden[np.pi]["nose"]
    assert not hidden[0.0]["left_eye"] and hidden[np.pi]["left_eye"]
    assert not hidden[0.0]["left_knee"] and not hidden[np.pi]["left_knee"]


# --- clothes --------------------------------------------------------------------------------


def test_a_cut_ends_at_its_hem(tailor):
    field = garments.upper_field(tailor, -0.03, 0.15, 0.085)
    cut = garments.cut(tailor, field)
    assert cut.depth[~cut.rim].min() > -1e-6
    assert np.abs(cut.depth[cut.rim]).max() < 1e-6
    edges = np.sort(cut.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert uses.max() == 2
    assert (field[cut.covered] > 0).all()
    assert np.abs(cut.uv[:, 1]).max() < 0.8


def test_a_field_without_inside_is_an_error(tailor):
    with pytest.raises(ValueError, match="covers no face"):
        garments.piece(tailor, "upper", 3.0, 0.1, 0.08, 0.0)
    with pytest.raises(ValueError, match="unknown kind"):
        garments.piece(tailor, "armour")


def test_the_coarse_body_is_the_one_of_the_shipped_body(tmp_path):
    bodies.write_coarse(tmp_path / "coarse.npz")
    made, kept = read_npz(tmp_path / "coarse.npz"), bodies.measurements(is_near=False)
    assert np.array_equal(made["kept"], kept.kept) and np.array_equal(made["faces"], kept.faces)
    assert measures.coarsen(bodies.measurements(), 2400).smoothing == kept.smoothing


def test_a_coarse_body_stays_close_and_wears_all(tailor, pool):
    coarse = measures.coarsen(tailor, 1000)
    assert len(coarse.vertices) == 1000 and coarse.faces.shape == (1996, 3)
    assert np.array_equal(coarse.vertices, tailor.vertices[coarse.kept])
    off, _ = cKDTree(tailor.vertices).query(coarse.vertices[coarse.faces].mean(1))
    assert np.percentile(off, 95) < 0.02
    for index in range(300):
        for person in draw_recipe(0, index, pool).people:
            for garment in person.outfit.garments:
                if garment.kind != "tube":
                    made = garments.piece(coarse, garment.kind, *garment.shape)
                    assert len(made.cut.faces)


# in the crease of a bent hip the nearest point of the skin may be across the fold
@pytest.mark.parametrize(
    ("name", "least"), [("standing", 0.98), ("walking", 0.98), ("sitting", 0.93)]
)
def test_garments_stay_outside_the_body(tailor, name, least):
    out = tailor.body(pose=pose_from_degrees(POSES[name])[None])
    points = np.asarray(out.vertices)[0]
    normals = np.empty_like(points)
    dress.unit_normals(points, tailor.body.faces.astype(np.uint32), normals)
    rng = np.random.default_rng(0)
    looks = outfits.cloth(rng, 0.008, 0.04) | outfits.pattern_of(rng, 0.5, ("check",))
    shirt = Garment("upper", [-0.04, 0.16, 0.08, 0.0], **looks)
    trousers = Garment("lower", [0.08, 0.78], **looks)
    outfit = replace(outfits.draw_outfit(rng), garments=(trousers, shirt), extras=())
    _, lower, upper = dress.wear(tailor, outfit, points, np.zeros(10), None, None, (0, -1, 0))
    tree = cKDTree(points)
    for part in (lower, upper):
        _, nearest = tree.query(part.vertices)
        above = ((part.vertices - points[nearest]) * normals[nearest]).sum(1)
        assert np.mean(above > -0.002) > least
        assert np.percentile(above, 95) < 0.06
    # where both are worn, the shirt is the outer one
    both, _ = cKDTree(lower.vertices).query(upper.vertices)
    assert np.median(both[both < 0.05]) > 0.003


def test_what_is_worn_over_a_hem_clears_it(tailor):
    points = tailor.vertices.astype(np.float32)
    normals = np.empty_like(points)
    dress.unit_normals(points, tailor.faces, normals)
    surface, worn, down = points.copy(), [], np.array((0, -1, 0), np.float32)
    for kind, shape, ease in (("lower", (0.08, 0.78), 0.02), ("upper", (-0.04, 0.16, 0.08), 0.004)):
        made = garments.piece(tailor, kind, *shape)
        garment = Garment(kind, shape, ease=ease, wrinkle=0.003, colors=[[0.5, 0.5, 0.5]])
        mesh = dress.put_on(tailor, garment, made, surface, normals, down)
        welded = np.empty((len(made.cut.ends), 3), np.float32)
        welded[made.cut.split] = mesh.vertices
        worn.append((made.cut, welded))
    (trousers, below), (shirt, above) = worn
    hem = np.arange(trousers.whole, trousers.whole + len(trousers.beyond))
    ends, share = trousers.ends[hem], trousers.share[hem, None]
    number = np.full(len(points), -1)
    number[shirt.ends[: shirt.whole, 0]] = np.arange(shirt.whole)
    waist = (number[ends] >= 0).all(1)
    assert waist.sum() > 20
    over = above[number[ends]]  # the shirt where the trousers' hem crosses the body's edges
    over = (over[:, 0] * (1 - share) + over[:, 1] * share)[waist]
    outward = normals[ends].mean(1)[waist]
    rise = ((over - below[hem][waist]) * outward).sum(1)
    assert (rise > 0).mean() > 0.9  # 0.01 if the shirt did not know of the hem


def test_a_skirt_hangs_around_both_thighs(tailor):
    rotations, translations = np.tile(np.eye(3), (24, 1, 1)), np.zeros((24, 3))
    ring = dress.drape_tube(
        tailor, np.zeros(10), rotations, translations, 0.16, -0.4, 0.01, 0.1, 7, 0.0
    )
    thighs = tailor.vertices[(tailor.height < 0) & (tailor.height > -0.35) & (tailor.arm < 0)]
    for points in (ring, ring[..., ::-1, :]):
        assert points[..., 0].max() > thighs[:, 0].max()
        assert points[..., 0].min() < thighs[:, 0].min()
        assert points[..., 2].max() > thighs[:, 2].max()
    assert ring[-1, :, 1].max() < ring[0, :, 1].min()


@pytest.mark.parametrize("kind", fabric.PATTERNS)
def test_patterns_have_colours_and_shades(kind):
    picture = fabric.pattern(kind, 1)
    assert picture.dtype == np.uint8 and picture.shape == (fabric.TEXTURE,) * 2
    assert len(np.unique(picture % 32)) > 3
    texture = fabric.dye(kind, 1, [[0.2, 0.4, 0.6], [0.9, 0.9, 0.9]], 2)
    assert texture.shape == (128, 128, 3)
    assert np.ptp(texture.reshape(-1, 3).mean(0)) > 2


def test_a_dyed_cloth_is_the_mipmap_of_its_picture():
    colors = [[0.2, 0.4, 0.6], [0.9, 0.9, 0.9]]
    for step in (1, 2, 4):
        dyed = fabric.tinted(fabric.pattern("check", 1), step, colors, fabric.BRIGHTNESS)
        whole = mipmap(fabric.dye("check", 1, colors, step))
        assert np.array_equal(dyed.levels, whole.levels)
        off = dyed.texels.view(np.uint8).astype(int) - whole.texels.view(np.uint8)
        assert np.abs(off).max() <= 1  # float32 may round otherwise


def test_unknown_pattern_or_place_is_an_error():
    with pytest.raises(ValueError, match="unknown pattern"):
        fabric.pattern("houndstooth", 0)
    with pytest.raises(ValueError, match="unknown kind of environment"):
        environment.draw_environment("moon", np.random.default_rng(0))


# --- places and the lens --------------------------------------------------------------------


def test_the_horizon_is_where_the_camera_says():
    meadow = environment.draw_environment("meadow", np.random.default_rng(1))
    surfaces = meadow.surfaces | {"floor": ["earth", [0.2, 0.2, 0.2]]}
    meadow = replace(meadow, rows=(), haze=0.0, path=Path(), surfaces=surfaces)
    for pitch in (-10, 0, 12):
        target = (0, 1.5 + 4 * np.tan(np.radians(pitch)), 0)
        camera = look_at((0, 1.5, 4), target, fov=50, size=(96, 96))
        image = backdrop.render_environment(meadow, camera, 0.6).astype(int).sum(2)
        far = np.array([[0.0, 1.5, -1e6]])  # the horizon straight ahead
        row = camera.project(far)[0][0, 1]
        found = np.argmax(image[:, 48] < image[2, 48] * 0.6)
        assert abs(found - row) < 2.5


@pytest.mark.parametrize("kind", environment.ENVIRONMENTS)
def test_every_place_can_be_painted(kind):
    place = environment.draw_environment(kind, np.random.default_rng(2))
    camera = look_at((0.2, 1.4, 3), (0, 1, 0), fov=45, size=(64, 48))
    for coarse in (1, 3):
        image = backdrop.render_environment(place, camera, 1.0, coarse)
        assert image.shape == (48, 64, 3) and image.std() > 2
    assert (environment.light_on(place, environment.NORMALS) >= 0).all()


def test_a_perfect_lens_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    lens = Lens(1.0, [1, 1, 1], 1.0, 1.0, 0.0, 1, 0.0, [0, 0], 0.0, 0, 90)
    seen = camera_effects(image, lens)
    assert np.abs(seen.astype(int) - image).max() <= 1
    blurred = camera_effects(image, replace(lens, blur=1.5))
    assert blurred.std() < 0.5 * image.std()
    assert abs(blurred.mean() - image.mean()) < 2
    moved = camera_effects(image, replace(lens, motion=[6, 0])).astype(int)
    assert np.abs(np.diff(moved, axis=1)).mean() < 0.6 * np.abs(np.diff(moved, axis=0)).mean()


def test_nobody_stands_in_the_lens(pool):
    recipe = draw_recipe(2, 1, pool)
    vertices = np.asarray(hmrlib.load_body()().vertices)[0] + [0, 1, 0]
    near = replace(recipe.camera, distance=0.1)
    camera, _, box = aim_camera(near, vertices.T, 224)
    assert isinstance(camera, Camera)
    pixels, depth = camera.project(vertices)
    assert depth.min() > 0.3
    np.testing.assert_allclose(box, [pixels.min(0), pixels.max(0)], atol=1e-6)


# --- data sets ------------------------------------------------------------------------------


def contents(folder):
    """Of each sample its id, and the bytes of all that its record holds."""
    return [
        (sample["id"], [np.asarray(value).tobytes() for value in sample.values()])
        for path in sorted(folder.glob("*.tfrecord"))
        for sample in records.open_records(path)
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("people") / "set"
    index = render_people(6, 3, out, size=64, workers=0, shard=2)
    assert index["samples"] == 6
    return out


# What a beginner writes; the shards are watched while they are made.
SCRIPT = """
import sys
from hmrlib.people import render_people
index = render_people(5, 3, sys.argv[1], size=64, workers=2, shard=2)
print("samples", index["samples"])
"""


def test_a_plain_script_renders_by_workers_that_open_no_port(dataset, tmp_path):
    """No `if __name__ == "__main__":` in it, and nothing for others to connect to."""
    script, out = tmp_path / "script.py", tmp_path / "set"
    script.write_text(SCRIPT, "utf-8")
    command = [sys.executable, str(script), str(out)]
    workers, listening = set(), set()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                tree = [own := psutil.Process(process.pid), *own.children(recursive=True)]
                workers |= {one.pid for one in tree[1:]}
                found = [place for one in tree for place in one.net_connections("inet")]
                listening |= {place.laddr for place in found if place.status == psutil.CONN_LISTEN}
            time.sleep(0.05)
        assert process.stdout.read() == "samples 5\n"
    assert process.returncode == 0
    assert workers and not listening
    assert contents(out) == contents(dataset)[:5]


def test_a_scheduler_changes_nothing(dataset, tmp_path):
    from distributed import LocalCluster

    alone = {"host": "127.0.0.1", "protocol": "tcp://", "dashboard_address": None}
    with LocalCluster(n_workers=1, processes=False, **alone) as local:
        address = local.scheduler_address
        render_people(4, 3, tmp_path / "set", size=64, scheduler=address, shard=2)
    assert contents(tmp_path / "set") == contents(dataset)[:4]


def test_a_shard_that_fails_says_why_and_loses_no_other(dataset, tmp_path):
    out = tmp_path / "set"
    render_people(2, 3, out, size=64, workers=0, shard=2)
    (out / "train-00001.tfrecord").mkdir()  # a file cannot take its place
    for workers in (0, 2):
        with pytest.raises(OSError, match="train-00001"):
            render_people(6, 3, out, size=64, workers=workers, shard=2)
    (out / "train-00001.tfrecord").rmdir()
    render_people(6, 3, out, size=64, workers=0, shard=2)
    assert contents(out) == contents(dataset)


def test_workers_change_nothing(dataset, tmp_path):
    render_people(5, 3, tmp_path / "set", size=64, workers=2, shard=2)
    assert contents(tmp_path / "set") == contents(dataset)[:5]


def another_processor():
    """An environment in which NumPy, BLAS and the C library know but the oldest vectors, and BLAS
    has one thread."""
    known = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]
    older = {"NPY_DISABLE_CPU_FEATURES": " ".join(known), "OPENBLAS_CORETYPE": "Nehalem"}
    older["GLIBC_TUNABLES"] = "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-FMA4"
    return os.environ | older | {"OPENBLAS_NUM_THREADS": "1"}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="of other vectors")
def test_another_processor_changes_nothing_and_workers_need_no_keras(pool, dataset, tmp_path):
    np.save(tmp_path / "pool.npy", pool)
    code = (
        "import sys; sys.modules['keras'] = None\n"
        "import numpy as np; from hmrlib.people.dataset import Shard, render_shard\n"
        f"pool = np.load({str(tmp_path / 'pool.npy')!r})\n"
        f"path = {str(tmp_path / 'train-00000.tfrecord')!r}\n"
        "assert render_shard(pool, Shard(3, 0, 2, path, None, 64)) == 2\n"
    )
    subprocess.run([sys.executable, "-c", code], env=another_processor(), check=True)
    assert contents(tmp_path) == contents(dataset)[:2]


@pytest.mark.parametrize("room", [hmrlib.people, hmrlib.render])
def test_no_sum_is_compiled_in_another_order(room):
    """Which `fastmath` would, for the vectors of this processor or that; minima may be."""
    names = [f"{room.__name__}.{module.name}" for module in pkgutil.iter_modules(room.__path__)]
    parts = [value for name in names for value in vars(importlib.import_module(name)).values()]
    compiled = [part for part in parts if hasattr(part, "targetoptions")]
    assert len(compiled) > 10
    for function in compiled:
        flags = function.targetoptions.get("fastmath") or set()
        assert flags is not True and set(flags) <= {"nnan", "nsz"}, function


def test_an_interrupted_run_goes_on(dataset, tmp_path):
    out = tmp_path / "set"
    render_people(4, 3, out, size=64, workers=0, shard=2)
    first, second = sorted(out.glob("*.tfrecord"))
    kept = first.stat().st_mtime_ns
    second.write_bytes(second.read_bytes()[:500])  # as if the disk had been full
    (out / ".train-00001.tfrecord.99.tmp").write_bytes(b"left by a worker that was ended")
    index = render_people(6, 3, out, size=64, workers=0, shard=2)
    assert index["samples"] == 6
    assert first.stat().st_mtime_ns == kept and not list(out.glob(".*"))
    assert contents(out) == contents(dataset)


def test_people_to_validate_on_are_others(dataset, tmp_path):
    out = tmp_path / "set"
    index = render_people(2, 3, out, size=64, workers=0, shard=2, validation=3)
    assert index["splits"] == {"train": 2, "validation": 3}
    people = {split: list(records.open_records(out, split)) for split in index["splits"]}
    assert len({sample["id"] for split in people.values() for sample in split}) == 5
    assert contents(out)[:2] == contents(dataset)[:2]
    assert not np.allclose(people["train"][0]["pose"], people["validation"][0]["pose"])


def test_other_settings_do_not_mix(dataset):
    with pytest.raises(ValueError, match="other settings"):
        render_people(6, 4, dataset, size=64, workers=0, shard=2)


def test_foreign_records_are_left_alone(dataset, tmp_path):
    (tmp_path / "train-00000.tfrecord").write_bytes(b"")
    with pytest.raises(ValueError, match="not synthetic people"):
        render_people(1, 0, tmp_path, workers=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n": 0}, "n >= 1"),
        ({"seed": -1}, "seed >= 0"),
        ({"size": 8}, "32 to 2048"),
        ({"shard": 0}, "at least one sample"),
        ({"validation": -1}, "to validate on"),
        ({"photographs": "nowhere"}, "no such folder"),
        ({"library": "nowhere.npz"}, "no such pose library"),
    ],
)
def test_bad_input_is_said_clearly(tmp_path, wrong, message):
    arguments = {"n": 1, "seed": 0, "out": tmp_path / "set", "workers": 0} | wrong
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        render_people(**arguments)
    assert not (tmp_path / "set").exists()


def test_a_library_without_poses_is_an_error(tmp_path):
    np.savez(tmp_path / "a.npz", clip=np.zeros(3))
    with pytest.raises(ValueError, match="expected an array `pose`"):
        pose_pool(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", pose=np.full((2, 24, 3), np.nan))
    with pytest.raises(ValueError, match="finite"):
        pose_pool(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", pose=np.full((7, 24, 3), 0.1))
    pool = pose_pool(tmp_path / "c.npz", 10)
    assert pool.shape == (17, 24, 3) and np.allclose(pool[-7:], 0.1)


def test_half_of_a_standing_pool_stands(pool):
    both = pose_pool("standing")
    assert len(both) == 2 * len(pool) and (both[: len(pool)] == pool).all()
    upright = both[len(pool) :]
    parts = {kind: [j for name, j in measures.J.items() if name.endswith(kind)]
             for kind in ("knee", "hip", "shoulder", "elbow")}  # fmt: skip
    turned = {
        kind: np.degrees(np.linalg.norm(upright[:, joints], axis=-1))
        for kind, joints in parts.items()
    }
    assert np.quantile(turned["knee"], 0.95) < 15 and np.quantile(turned["hip"], 0.95) < 25
    assert (upright[:, parts["knee"], 0] >= 0).all()  # no knee bends forward
    for kind in ("shoulder", "elbow"):
        assert (upright[:, parts[kind]] == pool[:, parts[kind]]).all()
    assert np.degrees(np.linalg.norm(upright[:, 0], axis=-1)).max() < 45


def test_photographs_become_backgrounds_and_a_broken_one_kills_nothing(pool, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \.jpg"):
        photographs.find_photographs(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    Image.fromarray(np.full((300, 400, 3), (250, 20, 30), np.uint8)).save(tmp_path / "red.png")
    names = photographs.find_photographs(tmp_path)
    assert names == ["broken.jpg", "red.png"]
    drawn = [draw_recipe(0, i, pool, names) for i in range(12)]
    red = next(r for r in drawn if r.photograph and r.photograph.name == "red.png")
    broken = next(r for r in drawn if r.photograph and r.photograph.name == "broken.jpg")
    shown, fallback = render_samples([red, broken], 96, tmp_path)
    border = decoded(shown)[shown["segmentation"] == 0]
    assert border[:, 0].mean() > 2 * border[:, 1].mean()
    assert decoded(fallback).std() > 5


def test_rendering_is_the_renderers(recipes):
    scene, known = built(recipes[0])
    drawn = render_scene(scene)
    assert len(known.owners) == len(scene.meshes) + 1
    assert (drawn.mesh < len(scene.meshes)).all()
