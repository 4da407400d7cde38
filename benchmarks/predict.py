"""How well and how fast a person is recovered from a photograph: landmarks, network, refined.

    python benchmarks/predict.py RECORDS [--count N] [--seconds 20] [--model LANDMARKS.tflite]
    python benchmarks/predict.py --landmarks PEOPLE

RECORDS are photographs with annotated points (`hmr data convert lsp LSP RECORDS`). A table of the
share of 12 limb points within 0.2 and 0.5 of the torso, of joint limits, depth and of rates goes
to `benchmarks/predict.md`. The second measures, on rendered people (`hmr data render`), where on
the body BlazePose sees the points that are no joints: `hmrlib/prediction/assets/landmarks.json`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

from hmrlib import fitting, skeleton
from hmrlib.data.records import open_records
from hmrlib.prediction import refine
from hmrlib.prediction.landmarks import LANDMARK_NAMES, find_people
from hmrlib.prediction.photograph import Photograph
from hmrlib.prediction.predictor import Found, Predictor

HERE = Path(__file__).parent
LIMBS = skeleton.KEYPOINT_SETS["lsp-14"].names[:12]
OF_LANDMARKS = [LANDMARK_NAMES.index(name) for name in LIMBS]
TORSO = [LIMBS.index("left_shoulder"), LIMBS.index("right_hip")]
BEYOND = np.radians(0.1)  # of a limit, that counts
TOGETHER = 64  # people of one batch of network and fit


# --- photographs --------------------------------------------------------------------------------


def annotated(source, count):
    """Photographs, and their points (N, 12, 3): pixels of the picture, > 0 where known."""
    samples = [
        (sample["image"], sample["keypoints_2d"])
        for sample in open_records(source)
        if (sample["keypoints_2d"][TORSO, 2] > 0).all()
    ]
    if count and count < len(samples):  # spread over all of them
        samples = [samples[i] for i in np.linspace(0, len(samples) - 1, count).astype(int)]
    images, points = zip(*samples, strict=True)
    return list(images), np.stack(points)


def box_of(points):
    known = points[points[:, 2] > 0, :2]
    return np.concatenate([known.min(axis=0), known.max(axis=0)])


def overlap(a, b):
    """Intersection over union of two boxes (4,)."""
    shared = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0).prod()
    return shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


def look(images, points, model):
    """Landmarks by the annotated box, and those of the detector whose box overlaps it most."""
    given, alone = [], []
    for image, annotation in zip(images, points, strict=True):
        box = box_of(annotation)
        given += find_people(image, boxes=[box], model=model)
        found = find_people(image, model=model)
        alone.append(max(found, key=lambda one: overlap(one.box, box)) if found else None)
    return given, alone


def recover(predictor, images, boxes, landmarks):
    """Network and refined, for one person a photograph: two lists of (pose, betas, place), notes.

    Returns:
        dict name -> limb points in the picture (N, 12, 2) and joints (N, 12, 3), poses (N, 24, 3);
        and the notes.
    """
    answers = {"network": [], "refined": []}
    notes = []
    for start in range(0, len(images), TOGETHER):
        part = slice(start, start + TOGETHER)
        photos = [
            Photograph(image, float(np.hypot(*image.shape[:2])), "the diagonal", "")
            for image in images[part]
        ]
        found = [
            Found(box[None], [one.score], [one])
            for box, one in zip(boxes[part], landmarks[part], strict=True)
        ]
        people = predictor.recover(photos, found)
        given = [
            np.stack([getattr(p, n) for p in people]) for n in ("pose", "betas", "translation")
        ]
        camera = np.array([[p.camera.focal, *p.camera.center] for p in people])
        fit = refine.refine(predictor.body, *given, camera, landmarks[part])
        for name, body in (("network", given), ("refined", fit[:3])):
            answers[name].append(limbs(predictor.body, *body, camera))
        notes += fit.note
    return {
        name: [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        for name, parts in answers.items()
    }, notes


def limbs(body, pose, betas, translation, camera):
    """Limb points in the picture (N, 12, 2) and in space (N, 12, 3), and the poses."""
    posed = body(np.float32(betas), np.float32(pose))
    space = np.asarray(body.keypoints(posed, "lsp-14"))[:, :12] + translation[:, None]
    pixels = camera[:, None, :1] * space[..., :2] / space[..., 2:] + camera[:, None, 1:]
    return pixels, space, pose


def pck(pixels, points, within):
    """Share of known limb points that are within a part of the torso; NaN pixels are not."""
    torso = np.linalg.norm(points[:, TORSO[0], :2] - points[:, TORSO[1], :2], axis=-1)
    off = np.linalg.norm(pixels - points[:, :12, :2], axis=-1) / torso[:, None]
    return float((off < within)[points[:, :12, 2] > 0].mean())


def beyond_limits(poses):
    """Share of the joints that are beyond a limit."""
    beyond = np.asarray(fitting.beyond_limits(np.float32(poses)))[:, 1:]
    return float((beyond > BEYOND).any(axis=-1).mean())


def aligned_error(points, target):
    """Mean distance in millimetres after the best similarity (Procrustes), of (K, 3) points."""
    a, b = points - points.mean(axis=0), target - target.mean(axis=0)
    u, s, vt = np.linalg.svd(b.T @ a)
    s[2] *= (sign := np.sign(np.linalg.det(u @ vt)))
    u[:, 2] *= sign
    return 1000 * np.linalg.norm(s.sum() / (a**2).sum() * a @ (u @ vt).T - b, axis=1).mean()


def row(name, pixels, points, space=None, poses=None, world=None):
    cells = [f"{pck(pixels, points, within):.3f}" for within in (0.2, 0.5)]
    if poses is None:
        return f"| {name} | {' | '.join(cells)} | | |"
    off = np.mean([aligned_error(*pair) for pair in zip(space, world, strict=True)])
    return f"| {name} | {' | '.join(cells)} | {100 * beyond_limits(poses):.2f} | {off:.0f} |"


def photographs(options):
    images, points = annotated(options.records, options.count)
    predictor = Predictor()
    given, alone = look(images, points, options.model)
    lines = [
        f"{len(images)} photographs, of each the annotated person. PCK: share of 12 limb points "
        "within a part of the torso, from the left shoulder to the right hip. Limits: share of "
        "joints that are more than 0.1 degrees beyond one. Depth: mean distance of 12 joints from "
        "the landmarks in space after Procrustes' alignment.",
        "",
        "| | PCK at 0.2 | at 0.5 | limits, % | depth, mm |",
        "|:--|--:|--:|--:|--:|",
    ]
    for told, landmarks in (("box from the annotation", given), ("detector alone", alone)):
        seen = [i for i, one in enumerate(landmarks) if one is not None]
        people = [landmarks[i] for i in seen]
        boxes = [
            box_of(points[i]) if landmarks is given else one.box
            for i, one in zip(seen, people, strict=True)
        ]
        answers, notes = recover(predictor, [images[i] for i in seen], boxes, people)
        world = np.stack([one.world[OF_LANDMARKS] for one in people])

        def everyone(pixels, seen=seen):
            all_of_them = np.full((len(images), 12, 2), np.nan)
            all_of_them[seen] = pixels
            return all_of_them

        xy = np.stack([one.xy[OF_LANDMARKS] for one in people])
        lines.append(row(f"{told}: landmarks", everyone(xy), points))
        for name, (pixels, space, poses) in answers.items():
            lines.append(row(f"{told}: {name}", everyone(pixels), points, space, poses, world))
        back = sum(map(bool, notes))
        lines.append(
            f"| ({len(seen)} found, {back} of them the network's answer, as landmarks "
            "were not trusted) | | | | |"
        )
    return lines, images[0]


# --- rates --------------------------------------------------------------------------------------


def seconds_of(function, seconds):
    """The shortest time of a call, of at least three after one that compiles."""
    function()
    times, stop = [], time.perf_counter() + seconds
    while time.perf_counter() < stop or len(times) < 3:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def rates(image, options):
    """Lines of how long one person in a picture of 640 x 480 takes, after the first."""
    picture = Image.new("RGB", (640, 480), (90, 110, 90))
    person = Image.fromarray(image)
    person = person.resize([round(n * 440 / max(person.size)) for n in person.size])
    picture.paste(person, (100, 20))
    picture = np.asarray(picture)
    whole, plain = Predictor(), Predictor(refine=False)
    photo = Photograph(picture, 800.0, "by hand", "")
    found = whole.find(photo)
    found = Found(*(part[:1] for part in found))
    (one,) = whole.recover([photo], [found])
    given = [getattr(one, name)[None] for name in ("pose", "betas", "translation")]
    camera = np.array([[one.camera.focal, *one.camera.center]])
    box = found.boxes
    parts = {
        "people and landmarks": lambda: whole.find(photo),
        "landmarks in a given box": lambda: whole.find(photo, box),
        "crop and network": lambda: whole.recover([photo], [found]),
        "fit": lambda: refine.refine(whole.body, *given, camera, found.landmarks),
        "network alone, in a given box": lambda: plain(picture, box, focal=800.0),
        "network alone": lambda: plain(picture, focal=800.0),
        "refined": lambda: whole(picture, focal=800.0),
    }
    took = {name: seconds_of(part, options.seconds / len(parts)) for name, part in parts.items()}
    pieces = ["people and landmarks", "crop and network", "fit"]
    added = {
        "network alone": sum(took[name] for name in pieces[:2]),
        "refined": sum(took[name] for name in pieces),
    }
    lines = [
        f"One person, 640 x 480, the shortest of some calls, {os.cpu_count()} cores of "
        f"{platform.machine()}:",
        "",
        "| what | ms | a second | of its parts' rate |",
        "|:--|--:|--:|--:|",
    ]
    for name, seconds in took.items():
        share = f"{added[name] / seconds:.0%}" if name in added else ""
        lines.append(f"| {name} | {1000 * seconds:.0f} | {1 / seconds:.1f} | {share} |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "picture.png")
        Image.fromarray(picture).save(path)
        start = time.perf_counter()
        code = f"import hmrlib; hmrlib.predict({str(path)!r})"
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        first = time.perf_counter() - start
    return [*lines, "", f"The first answer of a fresh process: {first:.1f} s."]


# --- where landmarks lie on the body ------------------------------------------------------------


def place_landmarks(options):
    """Measure `hmrlib/prediction/assets/landmarks.json` on rendered people."""
    samples = list(open_records(options.landmarks))
    landmarks = []
    for sample in samples:
        half = float(sample["size"]) / 2
        box = [*(sample["center"] - half), *(sample["center"] + half)]
        landmarks += find_people(sample["image"], boxes=[box])
    pose, betas, translation, camera = (
        np.stack([sample[name] for sample in samples])
        for name in ("pose", "betas", "translation", "camera")
    )
    body = Predictor().body
    fit, _ = fitting.improve(
        body,
        fitting.Sight(np.zeros((len(samples), len(LANDMARK_NAMES), 2)), refine.SITES),
        camera,
        (pose, betas, translation),
        [fitting.Stage("as they are", steps=0)],
    )
    owners = [fitting.SITE_OWNERS[fitting.SITE_NAMES.index(name)] for name in refine.SITES]
    turned = fit.rotations[:, owners, :2]  # (N, 33, 2, 3)
    depth = fit.points[..., 2:]
    pixels = camera[:, None, :1] * fit.points[..., :2] / depth + camera[:, None, 1:]
    away = (np.stack([one.xy for one in landmarks]) - pixels) * depth / camera[:, None, :1]
    trust = np.stack([one.visibility * (one.score > 0.5) for one in landmarks])
    offsets = np.zeros((len(LANDMARK_NAMES), 3))
    mirror = skeleton.mirror_order(LANDMARK_NAMES)
    flip = np.array([-1.0, 1, 1])
    for k, name in enumerate(LANDMARK_NAMES):
        if name in LIMBS:
            continue  # data sets annotate joints of limbs, so that is what these are
        other = mirror[k]
        rows = np.concatenate([turned[:, k], turned[:, other] * flip * flip[:2, None]])
        values = np.concatenate([away[:, k], away[:, other] * flip[:2]])
        weights = np.concatenate([trust[:, k], trust[:, other]])
        offsets[k] = robust_offset(rows, values, weights)
        print(f"{name:18s}", np.round(1000 * offsets[k]), "mm")
    about = (
        "metres from the site of the body that stands for a landmark to where BlazePose sees it, "
        "along the axes of the joint that carries it, at rest; measured on rendered people "
        "(benchmarks/predict.py --landmarks); joints of limbs are themselves"
    )
    rows = ",\n  ".join(json.dumps(row) for row in offsets.round(4).tolist())
    refine.OFFSETS.write_text(
        f'{{"about": {json.dumps(about)},\n "people": {len(samples)},\n'
        f' "offsets": [\n  {rows}\n ]}}\n',
        "utf-8",
    )


def robust_offset(rows, values, weights, scale=0.05, ridge=0.3, rounds=30):
    """The offset (3,) that explains seen shifts: rows (N, 2, 3) @ offset = values (N, 2), metres.

    Geman and McClure's loss by reweighting: what is off by more than `scale` counts for little.
    """
    offset = np.zeros(3)
    for _ in range(rounds):
        left = values - rows @ offset
        use = weights / (1 + (left**2).sum(axis=1) / scale**2) ** 2
        normal = np.einsum("n,nij,nik->jk", use, rows, rows) + ridge * np.eye(3)
        offset = np.linalg.solve(normal, np.einsum("n,nij,ni->j", use, rows, values))
    return offset


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", nargs="?", help="records of annotated photographs")
    parser.add_argument("--count", type=int, help="fewer of them, for a quick look")
    parser.add_argument("--seconds", type=float, default=20.0, help="for the rates")
    parser.add_argument("--model", help="another landmark network, such as the heavy one")
    parser.add_argument("--landmarks", help="records of rendered people")
    parser.add_argument("--out", type=Path, default=HERE / "predict.md")
    options = parser.parse_args()
    if options.landmarks:
        place_landmarks(options)
    elif options.records:
        lines, image = photographs(options)
        model = Path(options.model).stem if options.model else "pose_landmark_full, which ships"
        lines = [f"Landmark network: {model}. `python benchmarks/predict.py RECORDS`.", "", *lines]
        options.out.write_text("\n".join(lines) + "\n", "utf-8")  # rates take their time
        lines += ["", *rates(image, options)]
        options.out.write_text("\n".join(lines) + "\n", "utf-8")
        print("\n".join(lines))
    else:
        parser.error("give RECORDS, or --landmarks PEOPLE")
