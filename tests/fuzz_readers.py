"""The readers of hmrlib, for `tests.fuzz`: small valid files, made here, and what reads them."""

import dataclasses
import importlib
import io
import json
import pickle
import re
import struct
import tempfile
import warnings
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import sparse
from scipy.io import savemat

from tests import fuzz_mutations as mutations

READERS = {}
RATE = 30.0


@dataclasses.dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        valid: () -> list of valid inputs {file's name: bytes}; the first file is mutated.
        mutations: see `fuzz_mutations`; one of them is drawn for each input.
        read: path of the first file -> what comes of it, arrays and all.
        names: modules and exceptions, "module:Error", that the reader may raise.
        few: how many inputs `make test` reads.
    """

    name: str
    valid: object
    mutations: tuple
    read: object
    names: tuple
    few: int = 80

    def warm(self):
        """Import what it needs, before a child is begun."""
        self.valid()
        return self.errors

    @property
    def errors(self):
        return _errors(self.names)


@cache
def _errors(names):
    pairs = [name.split(":") for name in names]
    found = [getattr(importlib.import_module(module), error, None) for module, error in pairs]
    return tuple(error for error in found if error)


FEW = 5  # where each takes half a second


def reader(valid, *changes, errors, **more):
    """Make a `Reader` of a function that is named as it is."""

    def register(read):
        name = read.__name__.strip("_")
        READERS[name] = Reader(name, cache(valid), changes, read, errors, **more)
        return read

    return register


MOCAP = ("hmrlib.motion.skeletons:MocapError",)
DATA = ("hmrlib.data.datasets:DataSetError",)
BODY = ("hmrlib.io.safe_pickle:ModelFileError",)
NETWORK = ("hmrlib.network.hmr:ModelError", "hmrlib.training.checkpoint:TrainingError")
TEXT = (mutations.of_text, mutations.of_text, mutations.of_bytes)
JSON = (
    mutations.of_json,
    mutations.of_json,
    mutations.of_json,
    mutations.of_text,
    mutations.of_bytes,
)
NPZ = (mutations.of_npz, mutations.of_npz, mutations.of_npz, mutations.of_bytes)
PICKLE = (mutations.of_pickled_tree, mutations.of_pickle, mutations.of_bytes)


def npz(save=np.savez, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


# --- motion --------------------------------------------------------------------------------------


def _bvh_files():
    from tests.motion.test_mocap import BVH, PROGRAMS, figure, theirs, write_figure

    values = np.random.default_rng(0).uniform(-80, 80, (4, 13))
    rows = "\n".join(" ".join(f"{v:.3f}" for v in row) for row in values)
    clips = [BVH.format(frames=4, motion=rows).encode()]
    with tempfile.TemporaryDirectory() as folder:
        for program in ("motionbuilder", "xsens"):
            path = Path(folder, f"{program}.bvh")
            write_figure(path, theirs(*PROGRAMS[program][1:4]), figure(), frames=3)
            clips.append(re.sub(r"(\.\d\d)\d+", r"\1", path.read_text()).encode())
    return [{"clip.bvh": clip} for clip in clips]


def _play(path):
    """What a clip goes through before it is fitted."""
    from hmrlib.motion import clips, skeletons

    motion = clips.read_motion(path)
    if abs(motion.fps - RATE) > 0.5:
        motion = clips.resampled(motion, RATE)
    try:
        _, joints = skeletons.joint_map(motion)
    except skeletons.MocapError:
        return motion
    return motion, skeletons.mapped(motion, joints)


@reader(_bvh_files, *TEXT, errors=MOCAP)
def bvh(path):
    return _play(path)


def _amc_files():
    from tests.motion.test_mocap import ASF

    lines = ["#!OML", ":FULLY-SPECIFIED", ":DEGREES"]
    for n in range(1, 4):
        lines += [f"{n}", f"root 0 {n} 0 10 20 {n}", f"lfemur {n} -5 5", f"ltibia {10 * n}"]
    text = "\n".join(lines) + "\n"
    return [{"07_01.amc": text.encode(), "07.asf": ASF.encode()}]


@reader(_amc_files, *TEXT, errors=MOCAP)
def amc(path):
    return _play(path)


def _asf_files():
    (files,) = _amc_files()
    return [{"07.asf": files["07.asf"], "07_01.amc": files["07_01.amc"]}]


@reader(_asf_files, *TEXT, errors=MOCAP)
def asf(path):
    return _play(path.with_name("07_01.amc"))


def _amass_files():
    rng = np.random.default_rng(0)
    clip = {"poses": rng.normal(0, 0.2, (5, 156)).astype("f4"), "trans": rng.normal(size=(5, 3))}
    more = {"gender": np.array("male"), "betas": np.zeros(16), "dmpls": np.zeros((5, 8))}
    old = npz(**clip, mocap_framerate=np.array(120.0), **more)
    short = npz(np.savez_compressed, **clip, mocap_frame_rate=np.array(60))
    return [{"a_poses.npz": old}, {"a_poses.npz": short}]


@reader(_amass_files, *NPZ, errors=MOCAP)
def amass(path):
    from hmrlib.motion import clips

    return clips.read_amass(path)


def _joints_files():
    names = {"pelvis": "Hips", "left_hip": "Thigh", "left_knee": {"Shin": 1.5, "Thigh": -0.5}}
    family = {"neck": "Spine+y", "nose": {"Spine+z": 1.0}}
    clip = _bvh_files()[0]["clip.bvh"]
    patterns = {"a/*": "humanik", "*.bvh": {"joints": names, "unit": "cm", "up": "y", "fps": 60}}
    maps = (names | family, patterns)
    return [{"joints.json": json.dumps(one).encode(), "clip.bvh": clip} for one in maps]


@reader(_joints_files, *JSON, errors=MOCAP)
def joints(path):
    """As `hmr data mocap --joints` has it."""
    from hmrlib.motion import clips, gather, skeletons

    rules = gather.read_rules(gather.read_joints(path), {"unit": 0.01, "up": "y"})
    rule = gather.rule_for(rules, "clip.bvh")
    motion = clips.read_bvh(path.with_name("clip.bvh"), unit=rule["unit"], up=rule["up"])
    return skeletons.mapped(motion, skeletons.joint_map(motion, rule.get("joints"))[1])


def _openpose_files():
    def people(count, key, number):
        points = np.random.default_rng(count).uniform(5, 90, (number, count, 3)).round(2)
        points[..., 2] = 0.75
        points[:, 3] = 0
        return {"version": 1.3, "people": [{key: one.ravel().tolist()} for one in points]}

    files = people(25, "pose_keypoints_2d", 2), people(18, "pose_keypoints", 1)
    return [{"a_keypoints.json": json.dumps(one).encode()} for one in files]


@reader(_openpose_files, *JSON, errors=("hmrlib.data.openpose:OpenPoseError",))
def openpose(path):
    from hmrlib.data.openpose import read_openpose

    return read_openpose(path)


PREDICTION = ("hmrlib.prediction.photograph:PredictionError",)


def _coco_files():
    annotation = {"image_id": 7, "bbox": [10, 20, 30, 50], "keypoints": [1.0, 2.0, 2] * 17}
    images = [{"id": 7, "file_name": "street.jpg"}]
    files = [{"images": images, "annotations": [annotation]}, {"a.jpg": [[1, 2, 3, 4]]}]
    return [{"people.json": json.dumps(file).encode()} for file in files]


@reader(_coco_files, *JSON, errors=PREDICTION)
def boxes(path):
    from hmrlib.prediction.given import read_boxes

    return read_boxes(path)


@reader(
    lambda: _coco_files()[:1], *JSON, errors=(*PREDICTION, "hmrlib.data.openpose:OpenPoseError")
)
def keypoints(path):
    from hmrlib.prediction.given import read_keypoints

    return read_keypoints(path)


@cache
def _spin_body():
    import hmrlib

    return hmrlib.load_body()


def _spin_files():
    pose, camera = np.full((2, 72), 0.1), np.full((2, 3), 0.9)
    return [{"spin.npz": npz(pose=pose, betas=np.zeros((2, 10)), camera=camera)}]


@reader(_spin_files, *NPZ, errors=PREDICTION)
def spin(path):
    from hmrlib.prediction.others import read_spin

    return [(p.vertices, p.joints, p.pose) for p in read_spin(path, _spin_body())]


def _joblib_files():
    import joblib

    smpl = {"global_orient": np.eye(3)[None], "body_pose": np.tile(np.eye(3), (23, 1, 1))}
    frame = {"tid": [1], "tracked_time": [0], "smpl": [smpl | {"betas": np.zeros(10)}]}
    frame |= {"camera": [np.array([0.1, 0.2, 40.0])], "size": [[480, 640]]}
    files = []
    for compress in (0, 3):
        file = io.BytesIO()
        joblib.dump({f"{i}.jpg": {"time": i, **frame} for i in range(3)}, file, compress=compress)
        files.append({"tracks.pkl": file.getvalue()})
    return files


@reader(_joblib_files, mutations.of_bytes, errors=(*PREDICTION, *BODY))
def four_d_humans(path):
    from hmrlib.prediction.others import read_4dhumans

    return [(track.pose, track.translation) for track in read_4dhumans(path, _spin_body())]


# --- poses ---------------------------------------------------------------------------------------


def _library_files():
    pose = np.random.default_rng(0).normal(0, 0.2, (6, 24, 3)).astype("f4")
    library = npz(
        pose=pose,
        translation=np.zeros((6, 3), "f4"),
        clip=np.array([0, 0, 0, 1, 1, 1], "i4"),
        error=np.full(6, 0.01, "f4"),
        mirrored=np.zeros(6, bool),
        clip_names=np.array(["01_01.amc", "02_01.amc"]),
        clip_folders=np.array([".", "."]),
        betas=np.zeros((2, 10), "f4"),
        fps=np.float64(30),
    )
    return [{"library.npz": library}]


@reader(_library_files, *NPZ, errors=("hmrlib.motion.library:PoseError",))
def library(path):
    from hmrlib.motion import prior

    return prior.read_library(path)[:2]


@reader(_library_files, *NPZ, errors=("hmrlib.motion.library:PoseError",))
def poses(path):
    """The adversary's real poses."""
    from hmrlib.motion.library import read_poses

    return read_poses(path)


def _prior_files():
    rng = np.random.default_rng(0)
    lower = np.eye(69)[np.tril_indices(69)] * 0.2
    arrays = {
        "weights": np.array([0.25, 0.75], "f4"),
        "means": rng.normal(0, 0.1, (2, 69)).astype("f2"),
        "factors": np.stack([lower, lower]).astype("f2"),
        "joints": rng.normal(0, 0.3, (24, 3)).astype("f4"),
        "card": np.array(json.dumps({"name": "a prior", "clips": 2})),
    }
    return [{"prior.npz": npz(np.savez_compressed, **arrays)}, {"prior.npz": npz(**arrays)}]


@reader(_prior_files, *NPZ, errors=("hmrlib.motion.library:PoseError",))
def prior(path):
    from hmrlib.motion import prior

    found = prior.load_prior(path)
    return found, found.mixture


# --- body models ---------------------------------------------------------------------------------


def _body():
    from hmrlib.skeleton import PARENTS

    rng, count = np.random.default_rng(0), 30
    weights = np.zeros((count, 24), "f4")
    weights[np.arange(count), np.arange(count) % 24] = 1
    regressor = np.zeros((24, count), "f4")
    regressor[np.arange(24), np.arange(24)] = 1
    posedirs = np.zeros((count, 3, 207), "f4")
    posedirs[0, 0] = 0.01
    return {
        "v_template": rng.normal(0, 0.5, (count, 3)).astype("f4"),
        "shapedirs": rng.normal(0, 0.02, (count, 3, 2)).astype("f4"),
        "posedirs": posedirs,
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([np.array(PARENTS, np.int64), np.arange(24)]).astype("u4"),
        "f": np.array([[0, 1, 2], [2, 3, 4]], "u4"),
        "card": np.array(json.dumps({"licence": "CC0"})),
        "bs_type": np.array("lrotmin"),
    }


def _body_files():
    return [{"body.npz": npz(np.savez_compressed, **_body())}, {"body.npz": npz(**_body())}]


@reader(_body_files, *NPZ, errors=BODY)
def body_npz(path):
    from hmrlib.body import files

    return files.read_model(path)


@reader(_body_files, *NPZ, errors=BODY)
def body(path):
    """What `load_body` makes of it."""
    from hmrlib.body import model

    found = model.load_body(path)
    return found.model, found.card


def _pickle_files():
    model = _body() | {"J_regressor": sparse.csc_matrix(_body()["J_regressor"])}
    model |= {"card": str(model["card"]), "bs_type": "lrotmin"}
    small = [pickle.dumps(model, protocol) for protocol in (0, 2, 4)]
    old = [
        data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n") for data in small
    ]
    return [{"body.pkl": data} for data in old]


@reader(_pickle_files, *PICKLE, errors=BODY)
def body_pkl(path):
    from hmrlib.body import files

    return files.read_model(path)


def _torch_files():
    """By hand, in the pickle machine's own words, as there is no PyTorch here."""

    def text(word):
        return b"X" + struct.pack("<I", len(word)) + word.encode()

    arrays = {"fc.weight": np.arange(12, dtype="f4").reshape(3, 4), "fc.bias": np.ones(3, "f4")}
    body = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01("
    for number, (name, array) in enumerate(arrays.items()):
        steps = np.array(array.strides) // array.itemsize
        shape, strides = (
            b"(" + b"".join(b"K" + bytes([n]) for n in row) + b"t" for row in (array.shape, steps)
        )
        key, size = text(str(number)), b"K" + bytes([array.size])
        storage = (
            b"(" + text("storage") + b"ctorch\nFloatStorage\n" + key + text("cpu") + size + b"NtQ"
        )
        backward = b"\x89ccollections\nOrderedDict\n)R"
        tensor = b"(" + storage + b"K\x00" + shape + strides + backward + b"tR"
        body += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n" + tensor
    head = [
        pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    ]
    keys = pickle.dumps([str(number) for number in range(len(arrays))], 2)
    data = b"".join(struct.pack("<q", a.size) + a.tobytes() for a in arrays.values())
    return [{"weights.pth": b"".join([*head, body + b"u.", keys, data])}]


@reader(_torch_files, mutations.of_bytes, errors=BODY)
def torch(path):
    from hmrlib.io.safe_pickle import load_torch

    with open(path, "rb") as file:
        return load_torch(file)


def _tables():
    from hmrlib.people.draws import TABLES

    return [{path.name: path.read_bytes()} for path in sorted(TABLES.glob("*.yml"))]


@reader(_tables, *TEXT, errors=("hmrlib.io.settings:ConfigError",))
def table(path):
    from hmrlib.people.draws import read_table

    return read_table(path)


# --- settings, networks, trainings ---------------------------------------------------------------


def _config_files():
    text = (
        "encoder: TinyEncoder\nencoder_weights: null\nsize: 32\nlearning_rate: 1e-3\nsteps: 6\n"
        "regressor_rate: 0.001\nclip_norm: null\nshares: [0.5, 0.5]\nposes: prior\ncosine: true\n"
        "augmentation:\n  flip: 0.5\n  scale: [0.8, 1.2]\nseed: 3\n"
    )
    return [{"config.yml": text.encode()}]


@reader(_config_files, *TEXT, errors=("hmrlib.io.settings:ConfigError",))
def config(path):
    from hmrlib.training.config import read_config

    return read_config(path)


@cache
def _networks():
    """Files of a small network: {suffix: bytes}."""
    import multiprocessing

    with tempfile.TemporaryDirectory() as folder:  # in a process of its own: engines do not fork
        process = multiprocessing.get_context("spawn").Process(
            target=_write_networks, args=(folder,)
        )
        process.start()
        process.join()
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _model():
    from hmrlib.training.config import read_config
    from hmrlib.training.trainer import build_model
    from tests import tiny_encoder  # noqa: F401

    settings = {"encoder": "TinyEncoder", "encoder_weights": None, "size": 32, "hidden": 8}
    return build_model(read_config(**settings))


def _write_networks(folder):
    from hmrlib.training import checkpoint

    model, folder = _model(), Path(folder)
    checkpoint.save_model(folder / "model.npz", model.hmr, commit="0")
    checkpoint.save_checkpoint(folder / "last.npz", model, {"step": 3, "best": None})
    model.hmr.save(folder / "model.keras")
    model.hmr.save_weights(folder / "model.weights.h5")


def _network(suffix):
    return [{suffix: _networks()[suffix]}]


def _weights_of(model):
    return {variable.path: np.asarray(variable.value) for variable in model.variables}


def _load_model(path, **settings):
    from hmrlib.training.checkpoint import load_model
    from tests import tiny_encoder  # noqa: F401

    return _weights_of(load_model(path, **settings))


@reader(partial(_network, "model.npz"), *NPZ, errors=NETWORK, few=FEW)
def network(path):
    return _load_model(path)


@reader(partial(_network, "model.keras"), mutations.of_bytes, errors=NETWORK, few=FEW)
def keras(path):
    return _load_model(path)


@reader(partial(_network, "model.weights.h5"), mutations.of_bytes, errors=NETWORK, few=FEW)
def weights(path):
    return _load_model(path, encoder="TinyEncoder", size=32, hidden=8)


_model_once = cache(_model)


@reader(partial(_network, "last.npz"), *NPZ, errors=NETWORK, few=FEW)
def checkpoint(path):
    from hmrlib.training.checkpoint import load_checkpoint

    model = _model_once()
    about = load_checkpoint(path, model)
    return about, _weights_of(model.hmr), _weights_of(model.discriminator)


def _log_files():
    return [{"log.csv": b"step,total,smpl\n1,3.5,0.1\n2,3.25,0.2\n3,3.125,nan\n"}]


@reader(_log_files, *TEXT, errors=NETWORK)
def log(path):
    from hmrlib.training.logs import read_log

    return {name: len(column) for name, column in read_log(path).items()}


# --- records -------------------------------------------------------------------------------------


def image(size=(40, 30), kind="JPEG", mode="RGB", **more):
    """The bytes of a picture of (width, height)."""
    ramp = np.linspace(0, 255, size[0])[None, :, None] * np.linspace(0.3, 1, size[1])[:, None, None]
    picture = Image.fromarray(np.uint8(ramp * [1, 0.7, 0.4]))
    file = io.BytesIO()
    if mode == "I;16":
        picture = Image.fromarray(np.uint16(ramp[..., 0] * 250))
    elif mode != "RGB":
        picture = picture.convert(mode)
    picture.save(file, kind, **more)
    return file.getvalue()


def _sample(number):
    from hmrlib.data import records

    rng = np.random.default_rng(number)
    points = np.c_[rng.uniform(5, 25, (records.K, 2)), np.ones(records.K)]
    return {
        "image": image(),
        "center": (20, 15),
        "size": 28.0,
        "keypoints_2d": points,
        "keypoints_3d": np.c_[rng.normal(size=(records.K, 3)), np.ones(records.K)],
        "pose": rng.normal(0, 0.2, (24, 3)),
        "betas": np.zeros(10),
        "translation": (0, 0, 3),
        "camera": (50, 20, 15),
        "segmentation": np.arange(1200, dtype=np.uint8).reshape(30, 40) % 5,
        "source": "fuzz",
        "id": str(number),
        "recipe": "{}",
    }


@cache
def _records_files():
    from hmrlib.data import records

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "train-00000.tfrecord")
        records.write_shard(path, [_sample(0), _sample(1)])
        records.write_index(folder, source="fuzz", licence="none")
        return {each.name: each.read_bytes() for each in sorted(Path(folder).iterdir())}


def _first(name, *others):
    files = _records_files()
    return [{each: files[each] for each in (name, *others)}]


def _read_records(folder):
    from hmrlib.data import records

    found = records.open_records(folder)
    list(found)
    return [found[i] for i in range(len(found))]


@reader(
    partial(_first, "train-00000.tfrecord"),
    *(mutations.of_shard, mutations.of_shard, mutations.of_bytes),
    errors=("hmrlib.data.records:RecordError",),
)
def shard(path):
    return _read_records(path.parent)


@reader(
    partial(_first, "train-00000.json", "train-00000.tfrecord"),
    *JSON,
    errors=("hmrlib.data.records:RecordError",),
)
def shard_json(path):
    from hmrlib.data import records

    index = records.write_index(path.parent, source="fuzz")
    return index, _read_records(path.parent)


# --- data sets -----------------------------------------------------------------------------------


def _convert(name, path, depth=1, **options):
    """Convert a folder, then read back what was written: all of it is whole."""
    from hmrlib.data import datasets, records

    source = path.parents[depth - 1]
    with tempfile.TemporaryDirectory() as out:
        index = datasets.convert(name, source, out, progress=False, threads=1, **options)
        if not index["samples"]:
            return index, []
        read = records.open_records(out)
        samples = list(read)
        assert len(samples) == index["samples"] and not read.skipped, read.skipped
        return index, samples


def _person(number, **more):
    rng = np.random.default_rng(number)
    points = np.c_[rng.uniform(5, 25, (17, 2)), np.ones(17)].round(1).tolist()
    return {"image": "in/a.jpg", "keypoints": points, **more}


def _folder_files():
    rng = np.random.default_rng(0)
    people = [
        _person(0),
        _person(1, split="test", box=[3, 4, 20, 22], occluded=[1] + [0] * 16),
        _person(2, pose=rng.normal(0, 0.2, (24, 3)).round(2).tolist(), betas=[0.5] * 10)
        | {"translation": [0, 0, 3], "camera": [50, 20, 15]},
        _person(3, keypoints_3d=rng.normal(size=(17, 4)).round(1).tolist()),
    ]
    for point in people[3]["keypoints_3d"]:
        point[3] = 1
    labels = {"keypoints": "coco-17", "licence": "mine", "people": people}
    listed = labels | {"keypoints": [f"p{i}" for i in range(16)] + ["nose"], "people": people[:2]}
    files = {"in/a.jpg": image()}
    return [{"labels.json": json.dumps(one).encode(), **files} for one in (labels, listed)]


@reader(_folder_files, *JSON, errors=DATA)
def folder(path):
    return _convert("folder", path)


@reader(_folder_files, mutations.of_item("people"), errors=())
def folder_item(path):
    """One bad person never ends a conversion, and takes nobody else along."""
    index, *_ = found = _convert("folder", path)
    assert index["samples"] >= len(json.loads(path.read_text())["people"]) - 1, index
    return found


def _picture_files():
    pictures = {
        "a.jpg": image(quality=80),
        "b.jpg": image(mode="L"),
        "c.jpg": image(exif=_turned(6)),
        "d.jpg": image(mode="CMYK"),
        "a.png": image(kind="PNG"),
        "b.png": image(kind="PNG", mode="I;16"),
        "c.png": image(kind="PNG", mode="P"),
        "d.png": image(kind="PNG", mode="RGBA"),
        "a.webp": image(kind="WEBP"),
        "a.gif": image(kind="GIF", mode="P"),
        "a.bmp": image(kind="BMP"),
        "a.tif": image(kind="TIFF", compression="tiff_lzw"),
        "b.tif": image(kind="TIFF"),
    }
    made = []
    for name, data in pictures.items():
        labels = {"keypoints": "coco-17", "people": [_person(0, image=name)]}
        made.append({name: data, "labels.json": json.dumps(labels).encode()})
    return made


def _turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


@reader(_picture_files, mutations.of_bytes, mutations.of_bytes, mutations.of_png, errors=DATA)
def picture(path):
    return _convert("folder", path)


@reader(_picture_files, mutations.of_bytes, mutations.of_bytes, mutations.of_png, errors=())
def background(path):
    """A photograph behind synthetic people; None where it cannot be read."""
    from hmrlib.people import photographs

    found = photographs.read_photograph(str(path))
    return None if found is None else np.asarray(found)


def _coco_files():
    def person(number, image, **more):
        rng = np.random.default_rng(number)
        points = np.c_[rng.integers(5, 25, (17, 2)), [2] * 17]
        person = {
            "id": number,
            "image_id": image,
            "category_id": 1,
            "iscrowd": 0,
            "num_keypoints": 17,
        }
        return person | {
            "bbox": [3.0, 4.0, 25.0, 20.0],
            "keypoints": points.ravel().tolist(),
            **more,
        }

    people = [person(10, 1), person(11, 1, area=300.5), person(12, 2)]
    images = [{"id": i, "file_name": "000000000001.jpg", "width": 40, "height": 30} for i in (1, 2)]
    labels = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    name = "annotations/person_keypoints_train2017.json"
    return [{name: json.dumps(labels).encode(), "train2017/000000000001.jpg": image()}]


@reader(_coco_files, *JSON, errors=DATA)
def coco(path):
    return _convert("coco", path, 2)


@reader(_coco_files, mutations.of_item("annotations"), errors=())
def coco_item(path):
    """As for `folder_item`."""
    index, *_ = found = _convert("coco", path, 2)
    assert index["samples"] >= 2, index
    return found


def mat(tree, compress=False):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        savemat(file, tree, do_compression=compress)
    return file.getvalue()


def of_mat(tree):
    """A mutation: a .mat file of another tree than this."""

    def changed(rng, data, other):
        with np.errstate(all="ignore"):
            try:
                return mat(mutations.of_tree(rng, tree()), rng.random() < 0.5)
            except Exception:  # what .mat cannot hold
                return mutations.of_bytes(rng, data, other)

    return changed


def _mats(path, tree, **files):
    named = {name.replace("__", "/"): data for name, data in files.items()}
    return [{path: mat(tree(), compress), **named} for compress in (False, True)]


@cache
def _lsp_tree():
    joints = np.random.default_rng(0).uniform(3, 27, (3, 14, 3)).round(1)
    joints[2] = 0
    return {"joints": joints}


def _lsp_files():
    pictures = {f"images/im{i:04d}.jpg": image() for i in (1, 2, 3)}
    return [one | pictures for one in _mats("joints.mat", _lsp_tree)]


@reader(_lsp_files, mutations.of_bytes, mutations.of_bytes, of_mat(_lsp_tree), errors=DATA, few=FEW)
def lsp(path):
    return _convert("lsp", path)


def _blazepose_files():
    rng = np.random.default_rng(0)
    guesses = npz(
        world=rng.normal(size=(3, 33, 3)).astype("f2"),
        visibility=np.ones((3, 33), "f2"),
        score=np.array([0.9, 0.9, 0.2], "f2"),
    )
    joints = rng.uniform(3, 27, (14, 3, 3))
    joints[:, 2] = 1
    pictures = {f"images/im{i:05d}.jpg": image() for i in (1, 2, 3)}
    return [{"blazepose.npz": guesses, "joints.mat": mat({"joints": joints}), **pictures}]


@reader(_blazepose_files, *NPZ, errors=DATA, few=FEW)
def blazepose(path):
    return _convert("lsp_extended", path, pseudo_3d=True)


@cache
def _mpii_tree():
    rng = np.random.default_rng(0)
    points = [
        {"x": float(x), "y": float(y), "id": i, "is_visible": "1"}
        for i, (x, y) in enumerate(rng.uniform(4, 26, (16, 2)))
    ]
    rects = [
        {"scale": 1.2, "objpos": {"x": 20.0, "y": 15.0}, "annopoints": {"point": points}, "x1": 1}
        for _ in range(2)
    ]
    annolist = [{"image": {"name": "a.jpg"}, "annorect": rects[:n]} for n in (1, 2)]
    return {"RELEASE": {"annolist": annolist, "img_train": np.array([1, 1])}}


def _structs(value):
    """Lists of dicts of one kind as struct arrays, which is how MATLAB has them."""
    if isinstance(value, dict):
        return {str(name): _structs(item) for name, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        fields = sorted({str(name) for item in value for name in item})
        table = np.zeros((1, len(value)), [(name or "_", object) for name in fields])
        for i, item in enumerate(map(_structs, value)):
            table[0, i] = tuple(item.get(name, np.zeros((0, 0))) for name in fields)
        return table
    return value


def _mpii_mutation(rng, data, other):
    try:
        tree = mutations.of_tree(rng, _mpii_tree())
        return mat(_structs(tree), rng.random() < 0.5)
    except Exception:
        return mutations.of_bytes(rng, data, other)


def _mpii_files():
    name = "mpii_human_pose_v1_u12_1.mat"
    return [one | {"images/a.jpg": image()} for one in _mats(name, lambda: _structs(_mpii_tree()))]


@reader(_mpii_files, mutations.of_bytes, _mpii_mutation, _mpii_mutation, errors=DATA, few=FEW)
def mpii(path):
    return _convert("mpii", path)


def _studio(frames, count):
    """Pixels (F, J, 2) and millimetres (F, J, 3) before a camera."""
    rng = np.random.default_rng(0)
    points = np.array([0, 0, 4000]) + rng.normal(size=(frames, count, 3)) * [200, 450, 200]
    return 50 * points[..., :2] / points[..., 2:] + [20, 15], points


@cache
def _3dhp_tree():
    pixels, points = _studio(2, 28)
    annot2, annot3 = np.empty((1, 1), object), np.empty((1, 1), object)
    annot2[0, 0], annot3[0, 0] = pixels.reshape(2, 56), points.reshape(2, 84)
    return {"annot2": annot2, "annot3": annot3, "frames": np.array([[2]])}


def _3dhp_files():
    pictures = {f"S1/Seq1/imageFrames/video_0/{i:06d}.jpg": image() for i in range(2)}
    return [one | pictures for one in _mats("S1/Seq1/annot.mat", _3dhp_tree)]


@reader(
    _3dhp_files, mutations.of_bytes, mutations.of_bytes, of_mat(_3dhp_tree), errors=DATA, few=FEW
)
def mpi_inf_3dhp(path):
    return _convert("mpi_inf_3dhp", path, 3, every=1)


@cache
def _3dhp_test_tree():
    pixels, points = _studio(2, 17)
    return {"annot2": pixels[:, None], "annot3": points[:, None], "valid_frame": np.ones((2, 1))}


def h5(tree):
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as archive:
        for name, value in tree.items():
            archive[name] = value
    return file.getvalue()


def _of_h5(rng, data, other):
    try:
        return h5(mutations.of_tree(rng, _3dhp_test_tree()))
    except Exception:
        return mutations.of_bytes(rng, data, other)


def _3dhp_test_files():
    folder = "mpi_inf_3dhp_test_set/TS1"
    pictures = {f"{folder}/imageSequence/img_{i:06d}.jpg": image() for i in (1, 2)}
    return [{f"{folder}/annot_data.mat": h5(_3dhp_test_tree()), **pictures}]


@reader(_3dhp_test_files, mutations.of_bytes, mutations.of_bytes, _of_h5, errors=DATA, few=FEW)
def mpi_inf_3dhp_test(path):
    return _convert("mpi_inf_3dhp", path, 3)


@cache
def _h36m_files():
    from tests.data.test_datasets import write_cdf

    pixels, points = _studio(2, 32)
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for name, pose in (("3.cdf", points.reshape(2, 96)), ("2.cdf", pixels.reshape(2, 64))):
            write_cdf(Path(folder, name), pose)
            parts.append(Path(folder, name).read_bytes())
    pictures = {f"S1/Images/A 1.54/{i:06d}.jpg": image() for i in range(2)}
    names = ("D3_Positions_mono", "D2_Positions")
    labels = {
        f"S1/MyPoseFeatures/{name}/A 1.54.cdf": p for name, p in zip(names, parts, strict=True)
    }
    return [labels | pictures]


@reader(_h36m_files, mutations.of_bytes, errors=DATA, few=FEW)
def h36m(path):
    return _convert("h36m", path, 4, every=1)


def _3dpw_files():
    rng = np.random.default_rng(0)
    frames, people = 2, 2
    joints = rng.normal((0, 0, 4), 0.4, (people, frames, 24, 3))
    labels = {
        "sequence": "a_00",
        "poses": list(rng.normal(0, 0.2, (people, frames, 72))),
        "trans": list(rng.normal(0, 0.2, (people, frames, 3))),
        "jointPositions": list(joints.reshape(people, frames, 72)),
        "betas": [np.ones(10), np.zeros(10)],
        "poses2d": list(rng.uniform(0.1, 0.9, (people, frames, 3, 18)) * [[30], [30], [1]]),
        "campose_valid": [np.ones(frames, int) for _ in range(people)],
        "cam_poses": np.tile(np.eye(4), (frames, 1, 1)),
        "cam_intrinsics": np.array([[50.0, 0, 20], [0, 50.0, 15], [0, 0, 1]]),
        "genders": ["m", "f"],
        "img_frame_ids": np.arange(frames),
    }
    pictures = {f"imageFiles/a_00/image_{i:05d}.jpg": image() for i in range(frames)}
    path = "sequenceFiles/train/a_00.pkl"
    return [{path: pickle.dumps(labels, protocol=protocol), **pictures} for protocol in (2, 4)]


@reader(_3dpw_files, *PICKLE, errors=(*DATA, *BODY))
def threedpw(path):
    return _convert("3dpw", path, 3)


def _index_files():
    files = dict(_folder_files()[0])
    about = {
        "source": "folder",
        "licence": "as its owner says",
        "options": {},
        "images": {"train": 3, "test": 1},
        "shard": 500,
    }
    return [
        {"out/index.json": json.dumps(about).encode(), **{f"mine/{n}": d for n, d in files.items()}}
    ]


@reader(_index_files, *JSON, errors=DATA)
def index(path):
    """The index of records that a conversion goes on from."""
    from hmrlib.data import datasets

    return datasets.convert(
        "folder", path.parents[1] / "mine", path.parent, progress=False, threads=1
    )


def _study_files():
    run = {
        "settings": {"encoder": "EfficientNetLite0", "steps": 800, "seed": 0},
        "learned": ["people"],
        "pictures": 6144,
        "records": {"people-2048": 2048},
        "started_from": None,
        "measured": {"pa_mpjpe": 107.25, "pck": 70.0},
        "seconds": 51.5,
    }
    return [{"run.json": json.dumps(run).encode()}]


@reader(_study_files, *JSON, errors=("hmrlib.training.studies:StudyError",))
def study_run(path):
    """What a training of a study measured."""
    from hmrlib.training.studies import interval, read_run

    measured = read_run(path)["measured"]
    return measured, interval(list(measured.values())).mean


def _viewer_files():
    both = {"betas": [0.5, -1.0], "pose": [0.1] * 72}
    return [
        {"text.json": json.dumps(both).encode()},
        {"text.json": json.dumps([0.1] * 72).encode()},
    ]


@reader(_viewer_files, *JSON, errors=("hmrlib.viewing.viewer:TextError",))
def viewer(path):
    """Text that is pasted into the viewer."""
    from hmrlib.viewing.viewer import read_text

    return read_text(path.read_text("utf-8", "replace"), 10)
