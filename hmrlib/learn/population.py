"""Draw a population of adult bodies from MakeHuman's targets.

MakeHuman describes a body as its base mesh plus a weighted sum of targets. "Macro" targets stand
at the corners of a grid (female or male, young or old, minimum, average or maximum muscle, ...);
a body between the corners is interpolated, each corner weighted by a product of hat functions,
one per parameter. "Local modifiers" then change one feature each: the length of the forearm, the
depth of the hip, the width of the nose. Every body is exactly mirror-symmetric.

MakeHuman says what is possible, not what is common, so bodies are drawn widely and then
resampled until height and weight follow a measured population.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from tqdm.auto import tqdm

from hmrlib.learn import makehuman, rest_pose
from hmrlib.skeleton import JOINT_NAMES

# Adults, measures "stature" and "weight": mean and standard deviation in metres and kilograms.
# Soldiers of 17 to 58 years: leaner at the heavy end than the population at large.
SOURCE = (
    "C. C. Gordon et al., 2012 Anthropometric Survey of U.S. Army Personnel: Methods and Summary "
    "Statistics, Technical Report NATICK/TR-15/007, U.S. Army Natick Soldier Research, Development "
    "and Engineering Center, December 2014 (ANSUR II; 1,986 women, 4,082 men)"
)
STATURE = {"female": (1.628, 0.064), "male": (1.756, 0.069)}
WEIGHT = {"female": (67.8, 11.0), "male": (85.5, 14.2)}

# The outer surface also encloses the air in the lungs. Tissue is 1,040 to 1,060 kg/m³ (J. Durnin
# and J. Womersley, British Journal of Nutrition 32, 1974); some 3 litres of air in a body of 70
# bring the mean density inside the skin to that of water.
DENSITY = 1000.0  # kg/m³

RACES = ("african", "asian", "caucasian")

# Local modifiers by standard deviation, as "file name stem:suffix at -1"; the suffix at +1 is its
# opposite. A stem that starts with "l-" takes the right side along. The spreads are our choice:
# girths of trunk and limbs vary most, then faces, then lengths, whose modifiers reach farthest.
# Left out is what changes the pose (translations of limbs and torso, knock-knees) or is caricature.
_OPPOSITES = {"decr": "incr", "down": "up", "backward": "forward", "in": "out"}
_MODIFIERS = {
    0.24: """
        arms/l-lowerarm-fat:decr arms/l-lowerarm-muscle:decr arms/l-lowerarm-scale-depth:decr
        arms/l-upperarm-fat:decr arms/l-upperarm-muscle:decr arms/l-upperarm-scale-depth:decr
        arms/l-upperarm-shoulder-muscle:decr arms/l-upperarm-scale-vert:decr
        arms/l-lowerarm-scale-vert:decr arms/measure-upperarm-circ:decr
        breast/breast-dist:decr breast/breast-trans:down breast/breast-point:decr
        breast/breast-volume-vert:down buttocks/buttocks-volume:decr
        hip/hip-scale-depth:decr hip/hip-scale-horiz:decr hip/hip-waist:down
        legs/l-lowerleg-fat:decr legs/l-lowerleg-muscle:decr legs/l-upperleg-fat:decr
        legs/l-upperleg-muscle:decr legs/l-upperleg-scale-depth:decr
        legs/l-upperleg-scale-horiz:decr legs/l-lowerleg-scale-depth:decr
        legs/l-lowerleg-scale-horiz:decr legs/measure-calf-circ:decr legs/measure-knee-circ:decr
        legs/measure-thigh-circ:decr feet/measure-ankle-circ:decr hands/measure-wrist-circ:decr
        neck/measure-neck-circ:decr neck/neck-scale-depth:decr neck/neck-scale-horiz:decr
        neck/neck-back-scale-depth:decr neck/neck-double:decr
        pelvis/pelvis-tone:decr pelvis/bulge:decr stomach/stomach-tone:decr
        torso/measure-bust-circ:decr torso/measure-frontchest-dist:decr
        torso/measure-hips-circ:decr torso/measure-shoulder-dist:decr
        torso/measure-underbust-circ:decr torso/measure-waist-circ:decr
        torso/torso-muscle-dorsi:decr torso/torso-muscle-pectoral:decr
        torso/torso-scale-depth:decr torso/torso-scale-horiz:decr torso/torso-vshape:decr
    """,
    0.13: """
        arms/measure-lowerarm-length:decr arms/measure-upperarm-length:decr
        legs/measure-upperleg-height:decr legs/measure-lowerleg-height:decr
        torso/measure-napetowaist-dist:decr torso/measure-waisttohip-dist:decr
        torso/torso-scale-vert:decr hip/hip-scale-vert:decr neck/measure-neck-height:decr
        stomach/stomach-navel:down feet/l-foot-scale:decr feet/l-foot-scale-horiz:decr
        hands/l-hand-scale:decr hands/l-hand-fingers-length:decr hands/l-hand-fingers-diameter:decr
        forehead/forehead-nubian:decr head/head-back-scale-depth:decr
    """,
    0.20: """
        head/head-scale-depth:decr head/head-scale-horiz:decr head/head-scale-vert:decr
        head/head-fat:decr head/head-angle:in head/head-age:decr forehead/forehead-scale-vert:decr
        forehead/forehead-temple:decr forehead/forehead-trans:backward
        eyebrows/eyebrows-angle:down eyebrows/eyebrows-trans:down eyebrows/eyebrows-trans:backward
        cheek/l-cheek-bones:decr cheek/l-cheek-inner:decr cheek/l-cheek-trans:down
        cheek/l-cheek-volume:decr chin/chin-bones:decr chin/chin-height:decr
        chin/chin-jaw-drop:decr chin/chin-prognathism:decr chin/chin-prominent:decr
        chin/chin-width:decr ears/l-ear-flap:decr ears/l-ear-lobe:decr ears/l-ear-scale:decr
        ears/l-ear-scale-vert:decr ears/l-ear-wing:decr ears/l-ear-trans:down
        eyes/l-eye-bag:decr eyes/l-eye-corner1:down eyes/l-eye-corner2:down
        eyes/l-eye-epicanthus:in eyes/l-eye-height2:decr eyes/l-eye-scale:decr
        eyes/l-eye-trans:down eyes/l-eye-trans:in
        mouth/mouth-angles:down mouth/mouth-lowerlip-height:decr mouth/mouth-lowerlip-volume:decr
        mouth/mouth-lowerlip-width:decr mouth/mouth-scale-depth:decr mouth/mouth-scale-horiz:decr
        mouth/mouth-scale-vert:decr mouth/mouth-trans:down mouth/mouth-trans:backward
        mouth/mouth-upperlip-height:decr mouth/mouth-upperlip-volume:decr
        mouth/mouth-upperlip-width:decr mouth/mouth-philtrum-volume:decr
        nose/nose-base:down nose/nose-curve:concave nose/nose-flaring:decr nose/nose-greek:decr
        nose/nose-hump:decr nose/nose-nostrils-width:decr nose/nose-point:down
        nose/nose-point-width:decr nose/nose-scale-depth:decr nose/nose-scale-horiz:decr
        nose/nose-scale-vert:decr nose/nose-septumangle:decr nose/nose-trans:down
        nose/nose-volume:decr nose/nose-width1:decr nose/nose-width2:decr nose/nose-width3:decr
    """,
}


# MakeHuman at its heaviest has a BMI of 22 (women) to 23 (men). The parameter "girth" takes these
# modifiers along, by as much at girth 1, for the fat that it does not know.
_GIRTH = {
    "stomach-tone": -0.5, "measure-waist-circ": 0.5, "measure-hips-circ": 0.3,
    "torso-scale-depth": 0.35, "torso-scale-horiz": 0.15, "hip-scale-depth": 0.2,
    "hip-scale-horiz": 0.1, "measure-underbust-circ": 0.3, "measure-bust-circ": 0.25,
    "l-upperarm-fat": 0.6, "l-lowerarm-fat": 0.4, "l-upperleg-fat": 0.6, "l-lowerleg-fat": 0.4,
    "measure-thigh-circ": 0.4, "measure-calf-circ": 0.2, "measure-neck-circ": 0.4,
    "neck-double": 0.4, "head-fat": 0.4, "buttocks-volume": 0.3, "measure-upperarm-circ": 0.4,
    "measure-wrist-circ": 0.1,
}  # fmt: skip


@dataclass(frozen=True)
class Targets:
    """All targets that the population needs, as displacements of P points.

    The points are the vertices of the base topology, or weighted means of them (see `project`).

    Attributes:
        base: (P, 3) the points on MakeHuman's base mesh, metres.
        offsets: (T, P, 3) displacement by each target at weight one, metres.
        macros: the corner of the grid that target t stands at, as {parameter: label}.
            Targets after the last macro come in pairs, modifier k at -1 and at +1.
        modifiers: names of the K local modifiers.
        modifier_std: (K,) their standard deviation in the population.
    """

    base: np.ndarray
    offsets: np.ndarray
    macros: list[dict[str, str]]
    modifiers: list[str]
    modifier_std: np.ndarray


def read_targets(assets: makehuman.Assets) -> Targets:
    """Read macro targets and local modifiers, as displacements of all 19,158 base vertices."""
    corners = _macro_corners(assets)
    modifiers = _modifier_list()
    names = list(corners) + [name for low, high, _ in modifiers for name in (low, high)]
    matrix = makehuman.target_matrix(assets.path, names, assets.mirror)
    return Targets(
        base=assets.vertices,
        offsets=matrix.toarray().reshape(len(names), -1, 3),
        macros=list(corners.values()),
        modifiers=[low.split("|")[0].split("/")[1].rsplit("-", 1)[0] for low, _, _ in modifiers],
        modifier_std=np.array([std for _, _, std in modifiers]),
    )


def project(targets: Targets, points: sparse.sparray) -> Targets:
    """The same targets on other points, rows of a sparse (P, 19158) matrix that sum to one."""
    rows = targets.offsets.transpose(1, 0, 2).reshape(targets.offsets.shape[1], -1)
    moved = (points @ rows).reshape(points.shape[0], -1, 3)
    offsets = np.ascontiguousarray(moved.transpose(1, 0, 2))
    return replace(targets, base=points @ targets.base, offsets=offsets)


def typical_parameters(targets: Targets) -> dict:
    """Parameters of one body in the middle of everything: between woman and man, aged 40."""
    middle = ("gender", "muscle", "height", "proportions", "cupsize", "firmness")
    return {
        **{name: np.array([0.5]) for name in middle},
        "age": np.array([0.6]),
        "weight": np.array([0.9]),
        "girth": np.array([0.4]),
        "race": np.full((1, len(RACES)), 1 / len(RACES)),
        "modifiers": np.zeros((1, len(targets.modifiers))),
    }


def draw_parameters(targets: Targets, count: int, rng: np.random.Generator) -> dict:
    """Draw the parameters of adult bodies, wider than any real population.

    Half are women, half men. Muscle, weight and height are spread over (and weight beyond) the
    range of MakeHuman's sliders, since `resample` thins them out to what is common.

    Returns:
        Arrays by name: ``gender`` (0 female, 1 male), ``age`` (.5 is 25 years, 1 is 90),
        ``muscle``, ``weight``, ``girth`` (0 none, 1 much fat beyond MakeHuman's own),
        ``height``, ``proportions``, ``cupsize``, ``firmness``, each (N,); ``race`` (N, 3),
        non-negative and summing to one; ``modifiers`` (N, K).
    """
    male = rng.permutation(np.arange(count) % 2)
    blur = np.minimum(np.abs(rng.normal(0, 0.10, count)), 0.35)  # nobody is a caricature
    return {
        "gender": np.where(male == 1, 1 - blur, blur),
        "age": 0.5 + 0.45 * rng.beta(1.1, 2.2, count),
        "muscle": 0.15 + 0.75 * rng.beta(2.2, 2.2, count),
        "weight": rng.uniform(0.40, 1.35, count),  # 1 is the heaviest MakeHuman ships
        "girth": rng.uniform(-0.1, 1.4, count),
        "height": 0.28 + 0.40 * rng.beta(2, 2, count),
        "proportions": np.clip(rng.normal(0.5, 0.18, count), 0, 1),
        "cupsize": np.clip(rng.normal(0.5, 0.18, count), 0.05, 1),
        "firmness": np.clip(rng.normal(0.45, 0.18, count), 0, 1),
        "race": rng.dirichlet([0.7, 0.7, 0.7], count),
        "modifiers": np.clip(rng.normal(size=(count, len(targets.modifiers))), -2.5, 2.5)
        * targets.modifier_std,
    }


def target_weights(assets: makehuman.Assets, targets: Targets, parameters: dict) -> np.ndarray:
    """How much of each target a body takes: products of hat functions, and split modifiers.

    Between two neighbouring labels of a macro parameter the weight is linear, and outside the
    range it is extrapolated. A modifier at m, girth included, takes max(-m, 0) of its low and
    max(m, 0) of its high target.

    Returns:
        (N, T) float32.
    """
    hats = {"race": dict(zip(RACES, parameters["race"].T, strict=True))}
    for name, parts in assets.macros.items():
        hats[name] = _hat_weights(parts, parameters[name])
    macro = [np.prod([hats[k][label] for k, label in c.items()], axis=0) for c in targets.macros]
    girth = np.array([_GIRTH.get(name, 0.0) for name in targets.modifiers])
    m = parameters["modifiers"] + parameters["girth"][:, None] * girth
    local = np.stack([np.maximum(-m, 0), np.maximum(m, 0)], axis=-1).reshape(len(m), -1)
    return np.concatenate([np.stack(macro, axis=1), local], axis=1).astype(np.float32)


def build_bodies(targets: Targets, weights: np.ndarray) -> np.ndarray:
    """Base plus weighted targets: the kept points (N, P, 3) of N bodies in MakeHuman's A-pose.

    Summed in double precision and rounded to single at the end: the order of a sum, which is the
    processor's, hardly ever shows (once in a billion numbers).
    """
    moved = weights.astype(np.float64) @ targets.offsets.reshape(len(targets.offsets), -1)
    return (targets.base + moved.reshape(len(weights), *targets.base.shape)).astype(np.float32)


def rest_bodies(
    targets: Targets,
    weights: np.ndarray,
    skeleton: rest_pose.Skeleton,
    progress: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Build N bodies and bring them to the rest pose.

    Args:
        targets: projected on ``skeleton.points``.
        weights: (N, T) from `target_weights`.
        skeleton: from `rest_pose.build_skeleton`.
        progress: a label for the progress bar; None for silence.

    Returns:
        vertices (N, V, 3) float32 in the T-pose, the pelvis joint at the origin, and the model's
        joints (N, 24, 3); metres.
    """
    vertices = np.empty((len(weights), len(skeleton.weights), 3), np.float32)
    joints = np.empty((len(weights), len(JOINT_NAMES), 3))
    for rows in _chunks(len(weights), progress):
        points = build_bodies(targets, weights[rows])
        vertices[rows], joints[rows] = rest_pose.rest(points, skeleton)
    return vertices, joints


def measure_bodies(
    targets: Targets,
    weights: np.ndarray,
    skeleton: rest_pose.Skeleton,
    faces: np.ndarray,
    progress: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Stature and weight, both (N,), of bodies in the rest pose, which are not kept.

    The arguments are those of `rest_bodies`, and the mesh's triangles (F, 3).
    """
    stature, weight = np.empty(len(weights)), np.empty(len(weights))
    for rows in _chunks(len(weights), progress):
        vertices, _ = rest_bodies(targets, weights[rows], skeleton)
        stature[rows], weight[rows] = measure(vertices, faces)
    return stature, weight


def measure(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stature (N,) in metres and weight (N,) in kilograms of standing bodies (N, V, 3).

    Stature is the extent along y. Weight is the volume inside the closed mesh times `DENSITY`;
    the volume is summed over the prisms between each triangle and the plane z = 0, the mean z of
    the corners times the signed area of the triangle's shadow.
    """
    stature = np.ptp(vertices[:, :, 1], axis=1)
    x, y, z = np.ascontiguousarray(vertices.transpose(2, 0, 1), np.float64)
    a, b, c = faces.T
    shadow = (x[:, b] - x[:, a]) * (y[:, c] - y[:, a]) - (x[:, c] - x[:, a]) * (y[:, b] - y[:, a])
    height = z[:, a] + z[:, b] + z[:, c]
    return stature, DENSITY * np.einsum("nf,nf->n", shadow, height) / 6


def log_statistics(sex: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean (2,) and standard deviation (2,) of [stature, log BMI] in the measured population.

    The survey gives stature H and weight W. Weight is taken as log-normal, and BMI = W / H² as
    independent of stature (which is what the square in it is for), so
    var(log BMI) = var(log W) - 4 var(log H).
    """
    (height, height_std), (weight, weight_std) = STATURE[sex], WEIGHT[sex]
    var_log_h = np.log1p((height_std / height) ** 2)
    var_log_w = np.log1p((weight_std / weight) ** 2)
    log_bmi = np.log(weight) - var_log_w / 2 - 2 * (np.log(height) - var_log_h / 2)
    return np.array([height, log_bmi]), np.array([height_std, np.sqrt(var_log_w - 4 * var_log_h)])


def resample(
    stature: np.ndarray,
    weight: np.ndarray,
    male: np.ndarray,
    count: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Choose ``count`` of the drawn bodies so that stature and BMI follow the survey.

    For either sex the drawn density of (stature, log BMI) is estimated by a histogram, and a
    body's chance of being chosen is target density over drawn density, at most one. Nobody is
    chosen twice.

    Args:
        stature, weight: (N,) of the drawn bodies, metres and kilograms.
        male: (N,) True for the bodies drawn as men.

    Returns:
        (count,) sorted row numbers, half women and half men.

    Raises:
        ValueError: the draw covers too little of the target to choose that many bodies.
    """
    features = np.stack([stature, np.log(weight / stature**2)], axis=1)
    chosen = []
    for sex, rows, wanted in (
        ("female", np.flatnonzero(~male), count - count // 2),
        ("male", np.flatnonzero(male), count // 2),
    ):
        mean, std = log_statistics(sex)
        z = np.round((features[rows] - mean) / std, 9)  # nobody is at a bin's edge by a last bit
        inside = np.all(np.abs(z) < 3.0, axis=1)
        rows, z = rows[inside], z[inside]
        if len(rows) <= wanted:
            raise ValueError(
                f"Expected more than {wanted} drawn {sex} bodies within three standard "
                f"deviations of the survey, found {len(rows)}; draw more."
            )
        bins = max(4, int(2 * len(rows) ** 0.25))
        histogram, *edges = np.histogram2d(*z.T, bins=bins, range=[(-3, 3)] * 2)
        cell = [np.clip(np.digitize(z[:, k], edges[k]) - 1, 0, bins - 1) for k in range(2)]
        ratio = np.exp(-0.5 * (z**2).sum(axis=1)) / histogram[tuple(cell)]
        chance = _scale_to_sum(ratio, wanted)
        # Systematic sampling: step through the summed chances with a stride of one.
        ticks = np.floor(np.round(np.cumsum(chance) + rng.uniform(), 9)).astype(int)
        chosen.append(rows[np.diff(ticks, prepend=0) > 0])
    return np.sort(np.concatenate(chosen))


def _scale_to_sum(ratio: np.ndarray, total: int) -> np.ndarray:
    """min(1, c · ratio), with c such that the sum is ``total``."""
    low, high = 0.0, 1.0 / ratio.min()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(1, middle * ratio).sum() < total else (low, middle)
    return np.minimum(1, high * ratio)


def _chunks(count: int, progress: str | None, size: int = 64) -> Iterator[slice]:
    """Slices of ``size`` bodies, to spare memory, under a progress bar that counts bodies."""
    with tqdm(total=count, desc=progress, unit=" bodies", disable=progress is None) as bar:
        for start in range(0, count, size):
            stop = min(start + size, count)
            yield slice(start, stop)
            bar.update(stop - start)


def _macro_corners(assets: makehuman.Assets) -> dict[str, dict[str, str]]:
    """Adult macro targets: file name -> the grid corner it stands at, read off the name."""
    labels = {
        name: [parts[0][2], *(part[3] for part in parts)] for name, parts in assets.macros.items()
    }
    labels["age"] = ["young", "old"]
    grids = {
        "macrodetails/{race}-{gender}-{age}": ("race", "gender", "age"),
        "macrodetails/universal-{gender}-{age}-{muscle}-{weight}": (),
        "macrodetails/proportions/{gender}-{age}-{muscle}-{weight}-{proportions}": ("proportions",),
        "macrodetails/height/{gender}-{age}-{muscle}-{weight}-{height}": ("height",),
        "breast/{gender}-{age}-{muscle}-{weight}-{cupsize}-{firmness}": ("cupsize", "firmness"),
    }
    labels["race"] = list(RACES)
    corners = {}
    for pattern, own in grids.items():
        axes = own if "race" in own else ("gender", "age", "muscle", "weight", *own)
        folder = pattern.rsplit("/", 1)[0]
        shipped = set(makehuman.target_names(assets.path, folder))
        for values in itertools.product(*(labels[axis] for axis in axes)):
            corner = dict(zip(axes, values, strict=True))
            name = pattern.format(**corner)
            if name in shipped:  # a corner without a file is the zero target
                corners[name] = corner
    return corners


def _hat_weights(parts, values: np.ndarray) -> dict[str, np.ndarray]:
    """Weight of each label at the values (N,): hats on the labels' positions, extrapolated."""
    inner = [(left[1] + right[0]) / 2 for left, right in itertools.pairwise(parts)]
    positions = np.round([0.0, *inner, 1.0], 3)
    labels = [parts[0][2], *(part[3] for part in parts)]
    piece = np.clip(np.searchsorted(positions, values, side="right") - 1, 0, len(parts) - 1)
    t = (values - positions[piece]) / (positions[piece + 1] - positions[piece])
    return {
        label: np.where(piece == i, 1 - t, 0) + np.where(piece == i - 1, t, 0)
        for i, label in enumerate(labels)
    }


def _modifier_list() -> list[tuple[str, str, float]]:
    """(name at -1, name at +1, standard deviation) of the local modifiers, both sides joined."""
    modifiers = []
    for std, block in _MODIFIERS.items():
        for entry in block.split():
            stem, low = entry.split(":")
            high = {"concave": "convex"}.get(low) or _OPPOSITES[low]
            names = [f"{stem}-{low}", f"{stem}-{high}"]
            if "/l-" in stem:
                names = [f"{name}|{name.replace('/l-', '/r-')}" for name in names]
            modifiers.append((*names, std))
    return modifiers
