"""Clips below a folder into one library of poses: `hmr data mocap`."""

import fnmatch
import hashlib
import json
import time
import warnings
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from hmrlib.io import ArchiveError, atomic_write, locked, read_npz
from hmrlib.motion import skeletons
from hmrlib.motion.clips import (
    LIBRARY_FPS,
    checked_rate,
    metres_of,
    read_amass,
    read_motion,
    resampled,
    skeleton_beside,
)
from hmrlib.motion.retarget import retarget
from hmrlib.motion.skeletons import LIMBS_AND_TORSO, SKELETONS, UPS, MocapError, MocapWarning
from hmrlib.skeleton import JOINT_MIRROR


def mirrored_pose(pose):
    """The mirror image of poses (..., 24, 3): left and right swapped, x reflected."""
    return np.asarray(pose)[..., list(JOINT_MIRROR), :] * np.array([1.0, -1.0, -1.0])


def read_joints(path):
    """What a JSON file says of skeletons, for `build_library`'s `joints`.

    Raises:
        MocapError: it is no JSON, or nothing that `build_library` takes.
    """
    try:
        joints = json.loads(Path(path).read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise MocapError(f"{path}: expected JSON ({error})") from error
    try:
        read_rules(joints, {})
    except MocapError as error:
        raise MocapError(f"{path}: {error}") from error
    return joints


def build_library(folder, out, body, fps=LIBRARY_FPS, joints=None, unit=None, up=None):
    """Retarget every clip below a folder, and gather them into one pose library.

    A clip that cannot be used, whatever is wrong with it, is skipped and reported. Each finished
    clip is kept in `out/clips`, with a key of all that it was made from: the same call after an
    interruption goes on from there, and a clip whose file, skeleton, settings or body has changed
    is made again.

    Args:
        folder: with `.amc` (and their `.asf`), `.bvh`, AMASS `.npz`, at any depth; or one of them.
        out: gets `library.npz` and `errors.md`. The library: pose (N, 24, 3), each frame and its
            mirror image; translation (N, 3) and error (N,) metres; clip (N,), mirrored (N,); of
            each clip clip_names, clip_folders, betas (C, 10); fps.
        joints: for skeletons that are not known, see `joint_map`: one map for all clips, the name
            of a family, or a dict from patterns ("*.bvh", "dances/*") to what holds for the files
            of that name: a map, or a dict of any of joints, unit, up, fps (the file's own frames a
            second). The first pattern that fits counts.
        unit, up: of all clips whose pattern does not say, as for `read_bvh`; None guesses (AMASS is
            in metres, z up).

    Returns:
        path of the library, and the table of errors as Markdown.

    Raises:
        MocapError: no clip is found, none can be used, or `joints`, `unit`, `up` or `fps` are
            themselves wrong.
        FolderInUseError: another run writes into `out`.
    """
    folder, out, fps = Path(folder), Path(out), checked_rate(fps)
    rules = read_rules(joints, {"unit": unit, "up": up})
    inside = [folder] if folder.is_file() else folder.rglob("*")
    paths = [p for p in inside if p.suffix.lower() in (".amc", ".bvh", ".npz")]
    paths = sorted(p for p in paths if not p.resolve().is_relative_to(out.resolve()))
    if not paths:
        raise MocapError(f"{folder}: no .amc, .bvh or .npz below it")
    folder = folder.parent if folder.is_file() else folder
    with locked(out):
        clips, skipped = _clips(folder, paths, out, body, fps, rules)
        if not clips:
            reasons = "; ".join(list(skipped.values())[:3])
            raise MocapError(f"{folder}: none of {len(paths)} clips could be used: {reasons}")
        _write_library(out / "library.npz", clips, fps)
        table = _error_table(clips, skipped)
        with atomic_write(out / "errors.md") as file:
            file.write(table.encode())
    return out / "library.npz", table


def _clips(folder, paths, out, body, fps, rules):
    """Clips by name, kept or made, and by name why others were skipped."""
    clips, skipped, shape = {}, {}, _digest(body)
    with tqdm(paths, desc="mocap", unit="clip") as bar:
        for path in bar:
            name = path.relative_to(folder).as_posix()
            kept = out / "clips" / f"{name}.npz"
            try:
                rule = rule_for(rules, name)
                key = _key(path, shape, fps, rule)
                clip = _kept_clip(kept, key)
                if made := clip is None:
                    clip = _make_clip(path, body, fps, rule)
            except Exception as error:  # whatever one clip does, the others go on
                why = (
                    str(error)
                    if isinstance(error, MocapError)
                    else f"{type(error).__name__}: {error}"
                )
                skipped[name] = why if why.startswith(str(path)) else f"{path}: {why}"
                tqdm.write(f"skipped: {skipped[name]}")
                continue
            if made:
                kept.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(kept) as file:
                    np.savez_compressed(file, key=key, **clip)
                for note in clip["notes"]:
                    tqdm.write(f"note: {note}")
            clips[name] = clip
            bar.set_postfix_str(name)
    return clips, skipped


_MADE_BY = 2  # raised when clips of the same file and settings come out otherwise
_RULES = ("joints", "unit", "up", "fps")


def read_rules(joints, common):
    """(pattern, dict of `_RULES`) in order; `common` is what a pattern does not say.

    Raises:
        MocapError: a map, a unit or an axis that cannot be.
    """
    patterns = {"*": {"joints": joints}}
    if isinstance(joints, dict) and joints and all(set("*?[./") & set(key) for key in joints):
        patterns = {
            key: rule if isinstance(rule, dict) and set(rule) <= set(_RULES) else {"joints": rule}
            for key, rule in joints.items()
        } | ({} if "*" in joints else {"*": {}})
    rules = [(pattern, common | rule) for pattern, rule in patterns.items()]
    for pattern, rule in rules:
        try:
            _check_rule(**rule)
        except MocapError as error:
            raise (
                error if len(rules) == 1 else MocapError(f"pattern {pattern!r}: {error}")
            ) from None
    return rules


def _check_rule(joints=None, unit=None, up=None, fps=None):
    if isinstance(joints, str):
        if joints not in SKELETONS:
            raise MocapError(f"unknown skeleton {joints!r}; known are {', '.join(SKELETONS)}")
    elif joints is not None:
        skeletons.check_map(joints)
    if unit is not None:
        metres_of(unit)
    if not (up is None or (isinstance(up, str) and up in UPS)):
        raise MocapError(f"up {up!r}; expected one of {', '.join(UPS)}")
    if fps is not None:
        checked_rate(fps)


def rule_for(rules, name):
    """What holds for a clip: of the first pattern that fits its name below the folder."""
    return next(
        rule
        for pattern, rule in rules
        if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(Path(name).name, pattern)
    )


def _digest(body):
    """Of all that a clip takes from a body."""
    digest = hashlib.sha256()
    for array in (body.v_template, body.shapedirs, body.weights, body.J_regressor.toarray()):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _key(path, shape, fps, rule):
    """Names what a clip is made from: its file and skeleton, the settings, the body."""
    if not path.is_file():
        raise MocapError(f"{path}: no such file")
    digest = hashlib.sha256(json.dumps([_MADE_BY, fps, rule, shape], sort_keys=True).encode())
    for source in (path, skeleton_beside(path)) if path.suffix.lower() == ".amc" else (path,):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()


def _make_clip(path, body, fps, rule):
    """Retarget one clip."""
    began, notes = time.perf_counter(), ()
    if path.suffix.lower() == ".npz":
        pose, translation, betas = read_amass(path, fps, body, rule["up"] or "z")
        errors, known = np.zeros((len(pose), 0)), []
    else:
        options = {"unit": rule["unit"], "up": rule["up"], "fps": rule.get("fps")}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MocapWarning)  # they are in its notes
            motion = read_motion(path, **options)
        notes = motion.notes
        if abs(motion.fps - fps) > 0.5:
            motion = resampled(motion, fps)
        made = retarget(motion, body, rule.get("joints"))
        pose, translation, betas = made.pose, made.translation, made.betas
        known = list(made.errors)
        errors = np.stack([made.errors[name] for name in known], axis=1)
    if not (np.isfinite(pose).all() and np.isfinite(translation).all()):
        raise MocapError(f"{path}: no finite pose explains it")
    return {
        "pose": pose.astype("float32"),
        "translation": translation.astype("float32"),
        "betas": betas.astype("float32"),
        "errors": errors.astype("float32"),  # (T, points) metres
        "points": np.array(known, "U32"),
        "notes": np.array(notes, "U"),
        "seconds": np.float64(time.perf_counter() - began),
    }


def _kept_clip(path, key):
    """A clip that an earlier run made from the same, or None."""
    try:
        clip = read_npz(path)
    except (ArchiveError, OSError, MemoryError):
        return None
    return clip if str(clip.pop("key", "")) == key and "notes" in clip else None


def _write_library(path, clips, fps):
    poses = [clip["pose"] for clip in clips.values()]
    translations = [clip["translation"] for clip in clips.values()]
    index = np.concatenate([np.full(len(pose), i) for i, pose in enumerate(poses)])
    pose, translation = np.concatenate(poses), np.concatenate(translations)
    errors = np.concatenate([_limb_error(clip) for clip in clips.values()])
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            pose=np.concatenate([pose, mirrored_pose(pose)]).astype("float32"),
            translation=np.concatenate([translation, translation * [-1, 1, 1]]).astype("float32"),
            clip=np.tile(index, 2).astype("int32"),
            error=np.tile(errors, 2).astype("float32"),
            mirrored=np.repeat([False, True], len(pose)),
            clip_names=np.array(list(clips)),
            clip_folders=np.array([Path(name).parent.as_posix() for name in clips]),
            betas=np.stack([clip["betas"] for clip in clips.values()]),
            fps=np.float64(fps),
        )


def _error_table(clips, skipped):
    """Markdown: for each folder clips, frames, errors in mm over limbs and torso, rate."""
    rows, folders = [], sorted({Path(name).parent.as_posix() for name in clips})
    for folder in [*folders, "all"]:
        inside = [c for n, c in clips.items() if folder in ("all", Path(n).parent.as_posix())]
        frames = sum(len(clip["pose"]) for clip in inside)
        seconds = sum(float(clip["seconds"]) for clip in inside)
        means = [1000 * _limb_error(clip) for clip in inside if clip["errors"].shape[1]]
        error = np.concatenate(means) if means else np.array([np.nan])
        worst = max((m.mean() for m in means), default=np.nan)
        rows.append(
            f"| {folder} | {len(inside)} | {frames:,} | {error.mean():.1f} | "
            f"{np.percentile(error, 95):.1f} | {worst:.1f} | {frames / max(seconds, 1e-9):,.0f} |"
        )
    head = (
        "| folder | clips | frames | mean joint error, mm | 95 % of frames below | worst clip | "
        "frames/s |\n|:--|--:|--:|--:|--:|--:|--:|"
    )
    notes = ["\nDistances from the file's joints to the body's, over limbs and torso."]
    if skipped:
        notes.append(f"\n{len(skipped)} of {len(skipped) + len(clips)} clips were skipped:\n")
    notes += [f"- skipped `{name}`: {reason}" for name, reason in skipped.items()]
    noted = [f"- `{name}`: {note}" for name, clip in clips.items() for note in clip["notes"]]
    notes += ["\nMended or guessed:\n", *noted] if noted else []
    return "\n".join([head, *rows, *notes]) + "\n"


def _limb_error(clip):
    limbs = np.isin(clip["points"], LIMBS_AND_TORSO)
    if not limbs.any():
        return np.full(len(clip["pose"]), np.nan, "float32")
    return clip["errors"][:, limbs].mean(axis=1)
