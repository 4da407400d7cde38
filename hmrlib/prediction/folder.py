"""Photographs and videos into a folder: `hmr predict`. What is done is kept, what fails counted.

OUT/street/overlay.jpg, network.jpg, side.jpg, top.jpg     pictures
OUT/street/person_0.json, person_0.glb, ...                each person, the largest first
OUT/street/done.json                                       what it was made from, and of whom
OUT/contact.html                                           all at a glance
"""

import hashlib
import io
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from tqdm import tqdm

from hmrlib.io import atomic_write, locked
from hmrlib.prediction.frames import VIDEOS
from hmrlib.prediction.page import write_pages
from hmrlib.prediction.person import SUFFIXES
from hmrlib.prediction.photograph import PredictionError
from hmrlib.prediction.predictor import pictures_in
from hmrlib.prediction.video import predict_video

QUALITY = 90  # of the JPEGs
LARGEST = 2000  # pixels of a picture's longer side in OUT
DONE = "done.json"
MOTIONS = (".npz", ".bvh", ".glb")  # written of each track of a video


class Outcome(NamedTuple):
    """What came of a run.

    Attributes:
        done: names of the photographs that have a folder, finished now or before.
        left_out: dict, the name of one that has none -> why.
        people: `People` of this run's photographs, if they were to be kept; else [].
        pages: paths of the contact sheets.
    """

    done: list
    left_out: dict
    people: list
    pages: list


def run(inputs, out, predictor, save=("glb", "json"), keep=False, progress=True, **given):
    """Predict all that is given; the same call after an interruption goes on from there.

    Args:
        inputs: paths of photographs and videos, and of folders that are searched for them.
        out: a folder.
        predictor: `Predictor`.
        save: suffixes of the files to write of each person: glb, obj, ply, json, npz.
        keep: keep the people in memory, too.
        given: `boxes`, `keypoints`, `names`, `focal` of `Predictor.pictures`.

    Returns:
        `Outcome`.

    Raises:
        PredictionError: an unknown suffix, no such file, a folder without pictures.
        hmrlib.io.FolderInUseError: another run writes there.
    """
    suffixes = [f".{name.strip().lower().lstrip('.')}" for name in save]
    for suffix in suffixes:
        if suffix not in SUFFIXES:
            raise PredictionError(f"cannot save {suffix}: expected some of {', '.join(SUFFIXES)}")
    paths = gather(inputs)
    names = _names(paths)
    out = Path(out)
    settings = _digest(predictor, suffixes, given)
    left_out, people = {}, []
    with locked(out):
        keys = {path: _key(path, settings) for path in paths}
        finished = {path for path in paths if _done(out / names[path], keys[path])}
        todo = [path for path in paths if path not in finished]
        bar = tqdm(total=len(paths), initial=len(finished), unit="photo", disable=not progress)
        photos = [path for path in todo if path.suffix.lower() not in VIDEOS]
        with bar:
            for path, answer in zip(photos, predictor.pictures(photos, **given), strict=True):
                if answer.error:
                    left_out[path] = answer.error
                else:
                    _write(out / names[path], answer.people, suffixes, keys[path])
                    people += [answer.people] if keep else []
                _tell(bar, left_out)
            for path in todo:
                if path.suffix.lower() in VIDEOS:
                    try:
                        video = predict_video(
                            path, predictor, given.get("focal"), progress=progress
                        )
                        _write_video(out / names[path], video, keys[path])
                    except (ValueError, OSError) as error:
                        left_out[path] = str(error)
                    _tell(bar, left_out)
        left_out = {path: " ".join(why.split()) for path, why in left_out.items()}
        entries = [_entry(path, out / names[path], left_out.get(path)) for path in paths]
        pages = write_pages(out, entries)
    done = [str(path) for path in paths if path not in left_out]
    return Outcome(done, {str(path): why for path, why in left_out.items()}, people, pages)


def gather(inputs):
    """The files that are meant: as they are, folders searched; each once.

    Raises:
        PredictionError: no such file or folder, or a folder without pictures.
    """
    paths = []
    for given in map(Path, inputs):
        if given.is_dir():
            paths += pictures_in(given, VIDEOS)
        elif given.exists():
            paths.append(given)
        else:
            raise PredictionError(f"{given}: there is no such file or folder")
    return list(dict.fromkeys(paths))


def _names(paths):
    """A folder's name for each photograph: its own, with its suffix or a number if need be."""
    names, taken = {}, set()
    stems = Counter(path.stem.lower() for path in paths)
    for path in paths:
        name = path.stem if stems[path.stem.lower()] == 1 else path.name.replace(".", "_")
        new, i = name, 2
        while new.lower() in taken:  # of another folder
            new, i = f"{name}_{i}", i + 1
        taken.add(new.lower())
        names[path] = new
    return names


def _digest(predictor, suffixes, given):
    """Of all settings that the answers depend on."""
    told = [
        asdict(predictor.model.config),
        predictor.refine,
        str(predictor.landmark_model),
        suffixes,
    ]
    told += [{name: repr(value) for name, value in given.items()}]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _key(path, settings):
    """Of a photograph and the settings: another file, or other settings, and it is done anew."""
    about = path.stat()
    told = f"{path.resolve()}\0{about.st_size}\0{about.st_mtime_ns}\0{settings}"
    return hashlib.sha256(told.encode()).hexdigest()


def _done(folder, key):
    try:
        return json.loads((folder / DONE).read_text("utf-8"))["key"] == key
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write(folder, people, suffixes, key):
    """Everything of one photograph; `done.json` comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DONE).unlink(missing_ok=True)
    views = people.views()
    pictures = {"photo": people.image, "overlay": people.overlay(), **views}
    if any(person.network is not None for person in people):
        pictures["network"] = people.network().overlay()
    del pictures["front"]
    for name, picture in pictures.items():
        _save_jpeg(folder / f"{name}.jpg", picture)
    for i, person in enumerate(people):
        for suffix in suffixes:
            person.save(folder / f"person_{i}{suffix}")
    refined = sum(person.refined for person in people)
    notes = sorted({person.note for person in people if person.note})
    count = f"{len(people)} {'person' if len(people) == 1 else 'people'}"
    how = f"{refined} refined" if any(p.network is not None for p in people) else "network alone"
    sentence = "; ".join([f"{count}, {how}", f"focal length {_focal(people[0])}", *notes])
    done = {"key": key, "source": people.source, "people": len(people), "sentence": sentence}
    with atomic_write(folder / DONE) as file:
        file.write(json.dumps(done, indent=1).encode())


def _write_video(folder, video, key):
    """Everything of one video; `done.json` comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DONE).unlink(missing_ok=True)
    for i, track in enumerate(video.tracks):
        for suffix in MOTIONS:
            track.save(folder / f"track_{i}{suffix}")
    video.overlay(folder / "overlay.mp4")
    longest = video.tracks[0]
    sentence = (
        f"{video.frames} frames, {video.damaged} damaged; {len(video.tracks)} tracks, the longest "
        f"of {len(longest)} frames, its joints' acceleration {longest.jitter(raw=True):.1f} m/s² "
        f"before smoothing and {longest.jitter():.1f} after"
    )
    done = {"key": key, "source": video.source, "people": len(video.tracks), "sentence": sentence}
    with atomic_write(folder / DONE) as file:
        file.write(json.dumps(done, indent=1).encode())


def _tell(bar, left_out):
    if left_out:
        bar.set_postfix_str(f"{len(left_out)} left out")
    bar.update()


def _focal(person):
    return f"{person.camera.focal:.0f} px ({person.focal_from})"


def _save_jpeg(path, picture):
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    with atomic_write(path) as out:
        out.write(file.getvalue())


def _entry(path, folder, why):
    """A photograph's part of the page: its name, its folder, a sentence."""
    if why is not None:
        return str(path), None, why.removeprefix(f"{path}: ")
    told = json.loads((folder / DONE).read_text("utf-8"))
    return str(path), folder, told["sentence"]
