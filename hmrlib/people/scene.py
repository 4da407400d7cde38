"""From a recipe and posed bodies to a scene: people, objects, light and camera in one world.

World frame: metres, y up, the ground at y = 0, the first person at the origin, the camera at +z.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.spatial.transform import Rotation

from hmrlib.camera import Camera
from hmrlib.people.backdrop import render_environment
from hmrlib.people.bodies import FEW, NEAR, measurements
from hmrlib.people.dress import wear
from hmrlib.people.environment import light_on
from hmrlib.people.furniture import thing_meshes
from hmrlib.people.photographs import crop
from hmrlib.render.lights import Sun, sky_of_picture
from hmrlib.render.scene import Scene

PHOTOGRAPH = 640  # pixels of the made-up photograph's height, from which the picture is cropped
SIZE = 224  # pixels of the samples' pictures
# The clothes' pictures: up to so many pixels a metre, every so manyth of theirs.
STEPS = ((100, 4), (180, 2))
PERSON, OTHER, OBJECT = 1, 2, 3


def aim_camera(camera, outline, size):
    """The camera of a recipe, aimed at a person: what is kept of the photograph.

    Args:
        camera: the recipe's dict.
        outline: (3, N) points from all over the person, in the world, metres.
        size: of the picture's side, pixels.

    Returns:
        `Camera`, the side of the crop in pixels of the photograph, and the box (2, 2) of the
        points in the picture: its least and its largest x and y.
    """
    rotation, position, focal, corner, side, box = _aim(
        outline,
        *(camera[name] for name in ("turn", "distance", "height", "roll", "fov", "zoom")),
        tuple(camera["aim"]),
        tuple(camera["shift"]),
        size,
    )
    view = Camera(rotation, -rotation @ position, focal, (size, size), -corner)
    return view, side, box


@njit(nogil=True, cache=True, error_model="numpy")
def _aim(outline, turn, distance, height, roll, fov, zoom, aim, shift, size):
    """See `aim_camera`.

    Returns:
        rotation (3, 3) and position (3,) of the camera, focal length, the crop's corner (2,) from
        the photograph's middle, pixels of the crop; side and box.
    """
    target = np.empty(3)
    for k in range(3):
        target[k] = (outline[k].min() + outline[k].max()) / 2
    eye = np.array([distance * np.sin(turn), height, distance * np.cos(turn)])
    forward = target - eye
    forward /= np.sqrt((forward**2).sum())
    yaw = np.arctan2(forward[0], -forward[2]) + aim[0]
    pitch = min(max(np.arcsin(forward[1]) + aim[1], -1.35), 1.35)
    rotation = _look(yaw, pitch, np.radians(roll))
    seen = np.empty((3, outline.shape[1]))
    for k in range(3):
        axis = rotation[k]
        seen[k] = axis[0] * outline[0] + axis[1] * outline[1] + axis[2] * outline[2]
        seen[k] -= (axis * eye).sum()
    back = max(0.45 - seen[2].min(), 0.0)  # nobody stands in the lens
    eye = eye - rotation[2] * back
    focal = PHOTOGRAPH / (2 * np.tan(np.radians(fov) / 2))
    low, high = np.empty(2), np.empty(2)  # from the photograph's middle
    for k in range(2):
        seen[k] *= focal / (seen[2] + back)
        low[k], high[k] = seen[k].min(), seen[k].max()
    extent = (high - low).max()
    side = extent * zoom
    corner = (low + high) / 2 + np.array(shift) * extent - side / 2
    scale = size / side
    box = scale * np.stack((low - corner, high - corner))
    return rotation, eye, focal * scale, corner * scale, side, box


@njit(nogil=True, cache=True, error_model="numpy")
def _look(yaw, pitch, roll):
    """World to camera: it looks along -z, turned right by yaw, up by pitch, and rolled; radians."""
    a, b, d, e = np.sin(yaw), np.cos(yaw), np.sin(pitch), np.cos(pitch)
    forward, right = np.array([a * e, d, -b * e]), np.array([b, 0.0, a])
    down = np.array([d * a, -e, -d * b])  # forward x right
    c, s = np.cos(roll), np.sin(roll)
    return np.stack((c * right + s * down, c * down - s * right, forward))


def build_scene(recipe, posed, rows, size=SIZE, photographs=None):
    """The scene of one recipe, ready to be drawn.

    Args:
        recipe: see `draw_recipe`.
        posed: from `pose_people`; rows: which of it are this recipe's people.
        size, photographs: as for `render_samples`.

    Returns:
        `Scene`, and a dict of what is known of it: owners (PERSON, OTHER or OBJECT of each
        mesh), keypoints (22, 3) in the world, pose, betas, translation, box (2, 2), side.
    """
    layouts = [arrange(recipe, posed, rows, size)]
    return furnish([recipe], posed, layouts, roots_seen(posed, layouts), photographs)[0]


class Layout(NamedTuple):
    """Where the people of a recipe and their photographer are; n people.

    Attributes:
        rows: (n,) which of the posed people they are.
        shifts: (n, 3) float32, how far each is moved from where it was posed.
        outline: (3, N) points of the first one, in the world.
        camera: `Camera`; box (2, 2), side: as for `aim_camera`.
        shown: (i, density) of those in the picture, `rows[i]`, seen at `density` pixels a metre.
    """

    rows: np.ndarray
    shifts: np.ndarray
    outline: np.ndarray
    camera: Camera
    box: np.ndarray
    side: float
    shown: list

    @property
    def near(self):
        """Rows of those who are drawn with all their vertices."""
        return [int(self.rows[i]) for i, density in self.shown if density > NEAR]


def arrange(recipe, posed, rows, size):
    """The `Layout` of a recipe's people, `rows` of the posed ones; size: of the picture."""
    place = recipe["place"]
    at = np.array([person["at"] for person in recipe["people"]])  # x and z, (n, 2)
    lowest = posed["few"][rows, :, 1].min(1)
    shifts = np.empty((len(rows), 3), np.float32)
    shifts[:, [0, 2]] = at - posed["joints"][rows, 0][:, [0, 2]]
    shifts[:, 1] = [person["lift"] for person in recipe["people"]] - lowest
    some = posed["few"][rows, ::2].astype(float) + shifts[:, None]  # to a pixel the same
    outlines = np.ascontiguousarray(some.transpose(0, 2, 1))
    camera, side, box = aim_camera(recipe["camera"], outlines[0], size)
    if not place["sky"]:  # the photographer stays in the room
        camera, before = _stay_inside(camera, place["bounds"]), camera
        if camera is not before:
            pixels, _ = camera.project(outlines[0].T)  # NaN is behind the camera
            box = np.stack([np.fmin.reduce(pixels), np.fmax.reduce(pixels)])
    pelvis = posed["joints"][rows, 0] + shifts
    density = camera.focal / (pelvis @ camera.rotation[2] + camera.translation[2])  # pixels a metre
    shown = [(i, density[i]) for i in range(len(rows)) if not i or _in_sight(camera, outlines[i])]
    return Layout(rows, shifts, outlines[0], camera, box, side, shown)


def roots_seen(posed, layouts):
    """The first persons' root rotations as their cameras see them, (n, 3) axis-angle."""
    turns = [
        layout.camera.rotation @ posed["transforms"][0][layout.rows[0], 0] for layout in layouts
    ]
    return Rotation.from_matrix(turns, assume_valid=True).as_rotvec()


def furnish(recipes, posed, layouts, roots, photographs):
    """`build_scene` of layouts, with the first persons' roots from `roots_seen`: a list."""
    pairs = list(zip(recipes, layouts, strict=True))
    around = [_surroundings(recipe, layout.camera, photographs) for recipe, layout in pairs]
    dressed = [_dress(recipe, posed, layout) for recipe, layout in pairs]
    things = [_things(recipe, posed, layout) for recipe, layout in pairs]
    scenes = []
    for layout, (background, sky, sun), worn, parts in zip(
        layouts, around, dressed, things, strict=True
    ):
        meshes = [mesh for person in worn for mesh in person] + parts
        scenes.append(Scene(meshes, layout.camera, sky, sun, (0, 1, 0, 0), background))
    known = [
        _known(recipe, posed, layout, root, [len(person) for person in worn], len(parts))
        for (recipe, layout), root, worn, parts in zip(pairs, roots, dressed, things, strict=True)
    ]
    return list(zip(scenes, known, strict=True))


def _dress(recipe, posed, layout):
    """The meshes of each person in sight, the first one's first."""
    shifts, dressed = layout.shifts, []
    for i, density in layout.shown:
        row, person = layout.rows[i], recipe["people"][i]
        is_near = density > NEAR
        rotations, translations = (part[row] for part in posed["transforms"])
        worn = wear(
            measurements(None if is_near else FEW),
            person["outfit"],
            posed["vertices" if is_near else "few"][row] + shifts[i],
            np.asarray(person["betas"]),
            rotations,
            translations + shifts[i],
            (0, -1, 0),
            next((step for most, step in STEPS if density <= most), 1),
        )
        dressed.append(worn)
    return dressed


def _things(recipe, posed, layout):
    """The meshes of a recipe's objects."""
    joints = posed["joints"][layout.rows[0]] + layout.shifts[0]
    parts = [thing_meshes(thing, layout.outline, joints) for thing in recipe["objects"]]
    return [mesh for part in parts for mesh in part]


def _known(recipe, posed, layout, root, of_people, of_objects):
    """What `build_scene` says of a scene; of_people, of_objects: how many meshes each has."""
    row, person, camera, shift = (
        layout.rows[0],
        recipe["people"][0],
        layout.camera,
        layout.shifts[0],
    )
    owners = [PERSON] * of_people[0] + [OTHER] * sum(of_people[1:]) + [OBJECT] * of_objects
    pelvis = posed["pelvis"][row]
    return {
        "owners": np.array([*owners, 0], np.uint8),
        "keypoints": posed["keypoints"][row].astype(np.float64) + shift,
        "pose": np.concatenate([root[None], person["pose"][1:]]),
        "betas": person["betas"],
        "translation": camera.rotation @ (pelvis + shift) + camera.translation - pelvis,
        "box": np.minimum(np.maximum(layout.box, 0), camera.size[0]),
        "side": layout.side,
    }


def _in_sight(camera, outline):
    """Whether something of a body, or near it, is in the picture; nobody stands in the lens."""
    pixels, depth = camera.project(outline.T[::4])
    if depth.min() < 0.6:
        return False
    low, high = pixels.min(0), pixels.max(0)
    margin = 0.15 * (high - low)
    return bool((high > -margin).all() and (low < camera.size + margin).all())


def _stay_inside(camera, bounds):
    """The camera, moved into the room if moving away from a close person took it out."""
    low = np.array([bounds[2], bounds[0], bounds[4]]) + 0.05
    high = np.array([bounds[3], bounds[1], bounds[5]]) - 0.05
    position = np.minimum(np.maximum(camera.position, low), high)
    if (position == camera.position).all():
        return camera
    return Camera(
        camera.rotation, -camera.rotation @ position, camera.focal, camera.size, camera.center
    )


def _surroundings(recipe, camera, photographs):
    """Background (H, W, 3), the sky's harmonics and the sun of a recipe."""
    place, lens = recipe["place"], recipe["lens"]
    toward = np.array([camera.position - [0, 1, 0], [0, 2, 0]])
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    photograph = None
    if "photograph" in recipe:
        photograph = crop(photographs, camera.size, **recipe["photograph"])
    if photograph is not None:
        sky = sky_of_picture(photograph)
        sky = (
            sky
            * (
                0.72
                * lens["exposure"]
                / max(sky[0].mean() * 0.282 * np.sqrt(4 * np.pi) * 0.28, 1e-3)
            )
            * 0.5
        )
        tint = np.clip(sky[0] / max(sky[0].mean(), 1e-6), 0.6, 1.5)
        sun = Sun(place["sun"]["direction"], 0.35 * lens["exposure"] * tint, 12)
        return photograph, sky, sun
    light = light_on(place, toward).mean()
    exposure = 1.05 * lens["exposure"] / light
    background = render_environment(place, camera, exposure, lens["coarse"])
    a, b = np.asarray(place["ambient"]["a"]), np.asarray(place["ambient"]["b"])  # (3,), (3, 3)
    sky = np.zeros((9, 3))
    sky[0] = np.pi * a / 0.886227
    sky[[3, 1, 2]] = np.pi * b.T / (2 * 0.511664)
    color = np.asarray(place["sun"]["color"]) * exposure
    sun = (
        Sun(place["sun"]["direction"], color, place["sun"]["softness"]) if color.max() > 0 else None
    )
    return background, sky * exposure, sun
