"""From a recipe and posed bodies to a scene: people, objects, light and camera in one world.

World frame: metres, y up, the ground at y = 0, the first person at the origin, the camera at +z.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from hmrlib.camera import Camera
from hmrlib.people.backdrop import render_environment
from hmrlib.people.bodies import NEAR, measurements
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
        camera: the recipe's `Photographer`.
        outline: (3, N) points from all over the person, in the world, metres.
        size: of the picture's side, pixels.

    Returns:
        `Camera`, the side of the crop in pixels of the photograph, and the box (2, 2) of the
        points in the picture: its least and its largest x and y.
    """
    low, high = outline.min(1), outline.max(1)
    distance, turn = camera.distance, camera.turn
    eye = np.array([distance * math.sin(turn), camera.height, distance * math.cos(turn)])
    forward = (low + high) / 2 - eye
    forward /= math.sqrt((forward**2).sum())
    yaw = math.atan2(forward[0], -forward[2]) + camera.aim[0]
    pitch = min(max(math.asin(forward[1]) + camera.aim[1], -1.35), 1.35)
    rotation = _look(yaw, pitch, math.radians(camera.roll))
    seen = _turned(rotation, outline) - (rotation * eye).sum(1)[:, None]
    back = max(0.45 - seen[2].min(), 0.0)  # nobody stands in the lens
    eye = eye - rotation[2] * back
    focal = PHOTOGRAPH / (2 * math.tan(math.radians(camera.fov) / 2))
    pixels = seen[:2] * (focal / (seen[2] + back))
    low, high = pixels.min(1), pixels.max(1)  # from the photograph's middle
    extent = (high - low).max()
    side = extent * camera.zoom
    corner = (low + high) / 2 + np.array(camera.shift) * extent - side / 2
    scale = size / side
    box = scale * np.stack((low - corner, high - corner))
    position = -_turned(rotation, eye)
    return Camera(rotation, position, focal * scale, (size, size), -corner * scale), side, box


def _turned(rotation, points):
    """Points (3, ...) turned; summed up in the same order on every processor."""
    x, y, z = points
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in rotation])


def _look(yaw, pitch, roll):
    """World to camera: it looks along -z, turned right by yaw, up by pitch, and rolled; radians."""
    a, b, d, e = math.sin(yaw), math.cos(yaw), math.sin(pitch), math.cos(pitch)
    forward, right = np.array([a * e, d, -b * e]), np.array([b, 0.0, a])
    down = np.array([d * a, -e, -d * b])  # forward x right
    c, s = math.cos(roll), math.sin(roll)
    return np.stack((c * right + s * down, c * down - s * right, forward))


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


class Known(NamedTuple):
    """What is known of a scene.

    Attributes:
        owners: (n + 1,) PERSON, OTHER or OBJECT of each mesh, and 0 of nothing.
        keypoints: (22, 3) in the world.
        pose: (24, 3), its root as the camera sees it; betas (10,); translation (3,), the camera's.
        box: (2, 2) of the person in the picture, pixels; side: see `aim_camera`.
    """

    owners: np.ndarray
    keypoints: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    translation: np.ndarray
    box: np.ndarray
    side: float


def arrange(recipe, posed, rows, size):
    """The `Layout` of a recipe's people, `rows` of the posed ones; size: of the picture."""
    environment = recipe.environment
    at = np.array([person.at for person in recipe.people])  # x and z, (n, 2)
    lowest = posed.few[rows, :, 1].min(1)
    shifts = np.empty((len(rows), 3), np.float32)
    shifts[:, [0, 2]] = at - posed.joints[rows, 0][:, [0, 2]]
    shifts[:, 1] = [person.lift for person in recipe.people] - lowest
    some = posed.few[rows, ::2].astype(float) + shifts[:, None]  # to a pixel the same
    outlines = np.ascontiguousarray(some.transpose(0, 2, 1))
    camera, side, box = aim_camera(recipe.camera, outlines[0], size)
    if environment.sky is None:  # the photographer stays in the room
        camera, before = _stay_inside(camera, environment.bounds), camera
        if camera is not before:
            pixels, _ = camera.project(outlines[0].T)  # NaN is behind the camera
            box = np.stack([np.fmin.reduce(pixels), np.fmax.reduce(pixels)])
    pelvis = posed.joints[rows, 0] + shifts
    density = camera.focal / (pelvis @ camera.rotation[2] + camera.translation[2])  # pixels a metre
    shown = [(i, density[i]) for i in range(len(rows)) if not i or _in_sight(camera, outlines[i])]
    return Layout(rows, shifts, outlines[0], camera, box, side, shown)


def build_scene(recipe, posed, layout, vertices, photographs=None):
    """The scene of one recipe, ready to be rendered.

    Args:
        recipe: `Recipe`; posed: `PosedPeople`; layout: from `arrange`.
        vertices: of each row of `layout.near`, its vertices (V, 3).
        photographs: the folder that the recipe's photograph lies in.

    Returns:
        `Scene` and `Known`.
    """
    background, sky, sun = _surroundings(recipe, layout.camera, photographs)
    people = _dress(recipe, posed, layout, vertices)
    joints = posed.joints[layout.rows[0]] + layout.shifts[0]
    objects = [
        mesh for thing in recipe.objects for mesh in thing_meshes(thing, layout.outline, joints)
    ]
    owners = [PERSON] * len(people[0]) + [OTHER] * sum(map(len, people[1:]))
    owners = np.array([*owners, *[OBJECT] * len(objects), 0], np.uint8)
    meshes = [mesh for worn in people for mesh in worn] + objects
    scene = Scene(meshes, layout.camera, sky, sun, (0, 1, 0, 0), background)
    return scene, _known(recipe.people[0], posed, layout, owners)


def _dress(recipe, posed, layout, vertices):
    """The meshes of each person in sight, the first one's first."""
    dressed = []
    for i, density in layout.shown:
        row, person, shift = layout.rows[i], recipe.people[i], layout.shifts[i]
        is_near = density > NEAR
        worn = wear(
            measurements(is_near),
            person.outfit,
            (vertices[int(row)] if is_near else posed.few[row]) + shift,
            np.asarray(person.betas),
            posed.rotations[row],
            posed.translations[row] + shift,
            (0, -1, 0),
            next((step for most, step in STEPS if density <= most), 1),
        )
        dressed.append(worn)
    return dressed


def _known(person, posed, layout, owners):
    """What is known of the first person's picture."""
    row, camera, shift = layout.rows[0], layout.camera, layout.shifts[0]
    pelvis, pose = posed.pelvis[row], np.array(person.pose)
    root = camera.rotation @ posed.rotations[row, 0]
    pose[0] = Rotation.from_matrix(root, assume_valid=True).as_rotvec()
    return Known(
        owners,
        keypoints=posed.keypoints[row].astype(np.float64) + shift,
        pose=pose,
        betas=np.array(person.betas),
        translation=camera.rotation @ (pelvis + shift) + camera.translation - pelvis,
        box=np.minimum(np.maximum(layout.box, 0), camera.size[0]),
        side=layout.side,
    )


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
    low = np.array([bounds.west, bounds.floor, bounds.south]) + 0.05
    high = np.array([bounds.east, bounds.ceiling, bounds.north]) - 0.05
    position = np.minimum(np.maximum(camera.position, low), high)
    if (position == camera.position).all():
        return camera
    return Camera(
        camera.rotation, -camera.rotation @ position, camera.focal, camera.size, camera.center
    )


def _surroundings(recipe, camera, photographs):
    """Background (H, W, 3), the sky's harmonics and the sun of a recipe."""
    environment, exposure = recipe.environment, recipe.lens.exposure
    direction = environment.sun.direction
    if recipe.photograph is not None:
        photograph = crop(photographs, camera.size, recipe.photograph)
        if photograph is not None:
            sky = sky_of_picture(photograph)
            mean = max(sky[0].mean() * 0.282 * np.sqrt(4 * np.pi) * 0.28, 1e-3)
            sky = sky * (0.72 * exposure / mean) * 0.5
            tint = np.clip(sky[0] / max(sky[0].mean(), 1e-6), 0.6, 1.5)
            return photograph, sky, Sun(direction, 0.35 * exposure * tint, 12)
    toward = np.array([camera.position - [0, 1, 0], [0, 2, 0]])
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    exposure = 1.05 * exposure / light_on(environment, toward).mean()
    background = render_environment(environment, camera, exposure, recipe.lens.coarse)
    a, b = np.asarray(environment.ambient.a), np.asarray(environment.ambient.b)  # (3,), (3, 3)
    sky = np.zeros((9, 3))
    sky[0] = np.pi * a / 0.886227
    sky[[3, 1, 2]] = np.pi * b.T / (2 * 0.511664)
    color = np.asarray(environment.sun.color) * exposure
    sun = Sun(direction, color, environment.sun.softness) if color.max() > 0 else None
    return background, sky * exposure, sun
