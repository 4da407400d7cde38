"""The command `hmr`.

Every import of weight is inside the function that needs it, so that `hmr --help` answers at once.
"""

import argparse
import json
import os
import sys
import textwrap
import traceback
from contextlib import nullcontext
from pathlib import Path

import hmrlib

# What goes wrong with what the user gave; anything else is a bug and shows its traceback.
USER_ERRORS = (ValueError, OSError, ImportError)
EXPORTS = ("pkl", "npz", "obj", "ply", "glb")
SHELLS = ("bash", "zsh")
# what a shell completes with files; with folders where it is DIR
FILES = ("PATH", "INPUT", "FILE", "JSON", "PNG", "SOURCE", "LIBRARY", "RECORDS", "OUT")


def main(arguments=None):
    """Run `hmr ARGUMENTS`, by default those of the command line; returns the exit status.

    0: done. 1: a notebook failed, some of several photographs, or what `doctor` looked at. 2: bad
    input. 130: interrupted.
    """
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's errors, and no more
    try:
        from hmrlib.io.greetings import quiet_engine  # brings NumPy: Ctrl-C may come by now

        with nullcontext() if options.debug else quiet_engine():
            return options.run(options)
    except KeyboardInterrupt:
        print(f"\nhmr: interrupted. {options.kept}".rstrip(), file=sys.stderr)
        return 130
    except USER_ERRORS as error:
        if options.debug:
            traceback.print_exc()
        message = " ".join(str(error).split())
        print(f"hmr: error: {message}", file=sys.stderr)
        return 2


def _parser(kind=argparse.ArgumentParser):
    parser = kind(prog="hmr", description=hmrlib.__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"hmrlib {hmrlib.__version__}")
    debug = "show where an error came from, and what the engine says as it starts"
    parser.add_argument("--debug", action="store_true", help=debug)
    parser.set_defaults(kept="")
    commands = _subcommands(parser, "COMMAND")

    report = commands.add_parser("report", help="run the notebooks, build report, atlas and slides")
    report.add_argument("--full", action="store_true", help="the full setting, not the fast one")
    report.add_argument("--only", metavar="NAME", help="run this notebook alone")
    report.add_argument("--force", action="store_true", help="run also what has not changed")
    kept = "Finished notebooks are kept; the same command goes on from there."
    report.set_defaults(run=_report, kept=kept)

    app = commands.add_parser("app", help="serve the explorer as a web page without code")
    app.add_argument("--port", type=int, default=8866, help="8866 by default")
    app.add_argument("--no-browser", action="store_true", help="do not open one")
    pages = "open at a time, 4 by default; each takes about 0.9 GiB of memory"
    app.add_argument("--pages", metavar="N", type=int, default=4, help=pages)
    app.set_defaults(run=_app)

    body = commands.add_parser("body", help="look at, export or learn a body model")
    actions = _subcommands(body, "ACTION")
    path_help = "a model in SMPL's format; by default $HMR_BODY, or else the open body"

    info = actions.add_parser("info", help="counts, licence, errors")
    info.add_argument("body", nargs="?", metavar="PATH", help=path_help)
    info.set_defaults(run=_body_info)

    show = actions.add_parser("show", help="write a page with sliders, and open it in the browser")
    show.add_argument("body", nargs="?", metavar="PATH", help=path_help)
    show.set_defaults(run=_body_show)

    export = actions.add_parser("export", help="write the model for other programs")
    export.add_argument(
        "--format", required=True, choices=EXPORTS, help="pkl: for smplx and its kin"
    )
    export.add_argument("folder", metavar="DIR", type=Path)
    export.add_argument("--body", metavar="PATH", help=path_help)
    export.set_defaults(run=_body_export)

    build = actions.add_parser("build", help="learn the open body from MakeHuman's CC0 data")
    build.add_argument("--out", metavar="PATH", type=Path, help="by default the package's own file")
    build.add_argument("--fast", action="store_true", help="a small population, for a first look")
    build.add_argument("--fresh", action="store_true", help="forget the stages finished before")
    kept = "Finished stages are kept; the same command goes on from there."
    build.set_defaults(run=_body_build, kept=kept)

    model = commands.add_parser("model", help="look at a trained network")
    actions = _subcommands(model, "ACTION")
    info = actions.add_parser("info", help="settings, what it learned from, licence, errors")
    info.add_argument("model", nargs="?", metavar="PATH", help="a model .npz; else ours")
    info.set_defaults(run=_model_info)

    train = commands.add_parser("train", help="train the network on records")
    train.add_argument("--config", metavar="PATH", type=Path, help="settings, YAML; HMR's if none")
    train.add_argument("--records", metavar="DIR", nargs="+", help="folders of records")
    train.add_argument("--out", metavar="DIR", type=Path, required=True, help="where it goes")
    train.add_argument("--resume", action="store_true", help="go on from DIR's last checkpoint")
    train.add_argument("--steps", metavar="N", type=int, help="instead of the settings' number")
    kept = "The last checkpoint is kept; the same command with --resume goes on from there."
    train.set_defaults(run=_train, kept=kept)

    evaluate = commands.add_parser("evaluate", help="a network's errors, beside the mean body's")
    evaluate.add_argument("records", metavar="DIR", nargs="*", help="folders of records")
    evaluate.add_argument("--model", metavar="PATH", help="a run's folder or a file; else ours")
    evaluate.add_argument("--split", default="test", help="train, validation or test, the default")
    evaluate.add_argument("--protocol", metavar="NAME", help="of the field; `list` describes them")
    evaluate.add_argument(
        "--rows", metavar="WHO", nargs="+", default=["mean", "smplify", "network"],
        help="who is judged by a protocol: mean, smplify, network (these by default), landmarks, "
        "refined",
    )  # fmt: skip
    evaluate.add_argument("--out", metavar="DIR", type=Path, help="gets the protocol's tables")
    evaluate.set_defaults(run=_evaluate)

    doctor = commands.add_parser("doctor", help="what is installed, what lacks, what to do")
    doctor.set_defaults(run=_doctor)

    completion = commands.add_parser("completion", help="print what makes a shell complete `hmr`")
    shell = (
        "bash: `source <(hmr completion bash)` in ~/.bashrc. zsh: `hmr completion zsh > _hmr` in "
    )
    shell += "a folder of $fpath"
    completion.add_argument("shell", choices=SHELLS, help=shell)
    completion.set_defaults(run=_completion)

    _study_command(commands)
    _predict_command(commands)
    _data_commands(commands)
    return parser


def _subcommands(parser, name):
    """The parser's commands; without one, it prints its help, with what there is."""

    def say(options):
        parser.print_help(sys.stderr)
        print(f"\n{parser.prog}: error: which {name}?", file=sys.stderr)
        return 2

    parser.set_defaults(run=say)
    return parser.add_subparsers(metavar=name)


def _study_command(commands):
    study = commands.add_parser("study", help="small trainings that differ in one setting")
    study.add_argument("names", metavar="NAME", nargs="*", help="adversary, data, ...; see --list")
    study.add_argument("--list", action="store_true", help="which studies there are")
    out = "gets a folder for each study, and the rendered people; build/studies by default"
    study.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("build", "studies"), help=out
    )
    records = "of photographs, from `hmr data fit`; what needs them is else left out"
    study.add_argument("--records", metavar="DIR", nargs="+", default=[], help=records)
    weights = "a ResNet50V2's .weights.h5; what needs it is else left out"
    study.add_argument("--weights", metavar="PATH", help=weights)
    study.add_argument("--people", metavar="N", type=int, default=2048, help="rendered; 2048")
    pictures = "augmented views of them that each training learns from; 6144"
    study.add_argument("--pictures", metavar="N", type=int, help=pictures)
    study.add_argument("--steps", metavar="N", type=int, help="of each training; 800")
    study.add_argument("--size", metavar="PIXELS", type=int, help="of a crop's side; 192")
    study.add_argument("--seeds", metavar="N", type=int, default=3, help="of each variant; 3")
    kept = "Finished runs are kept; the same command goes on from there."
    study.set_defaults(run=_study, kept=kept)


def _predict_command(commands):
    predict = commands.add_parser("predict", help="find the people in photographs and videos")
    inputs = "photographs, videos, and folders of them"
    predict.add_argument("inputs", metavar="INPUT", nargs="+", type=Path, help=inputs)
    out = "gets a folder for each of them, and contact.html; predictions by default"
    predict.add_argument("--out", metavar="DIR", type=Path, default=Path("predictions"), help=out)
    alone = "the network alone, without the fit to landmarks"
    predict.add_argument("--no-refine", action="store_true", help=alone)
    save = "of each person, of glb, obj, ply, json, npz; glb,json by default"
    predict.add_argument("--save", metavar="KINDS", default="glb,json", help=save)
    focal = "of the lens, pixels; else from EXIF, or the picture's diagonal"
    predict.add_argument("--focal", metavar="PIXELS", type=float, help=focal)
    boxes = 'where people are: {"a.jpg": [[left, top, right, bottom], ...]}, or COCO\'s annotations'
    predict.add_argument("--boxes", metavar="JSON", type=Path, help=boxes)
    points = "people's keypoints: COCO's annotations, or OpenPose's file or folder of files"
    predict.add_argument("--keypoints", metavar="JSON", type=Path, help=points)
    predict.add_argument("--model", metavar="PATH", help="a run's folder or a file; else ours")
    landmarks = "another landmark network, pose_landmark_heavy.tflite; else the one that ships"
    predict.add_argument("--landmark-model", metavar="PATH", type=Path, help=landmarks)
    kept = "Finished photographs are kept; the same command goes on from there."
    predict.set_defaults(run=_predict, kept=kept)

    results = commands.add_parser("results", help="what SPIN, 4D-Humans or AMASS wrote, as ours")
    file = "SPIN's or AMASS's .npz, or 4D-Humans' .pkl"
    results.add_argument("file", metavar="FILE", type=Path, help=file)
    results.add_argument("--out", metavar="DIR", type=Path, required=True, help="where it goes")
    save = (
        "of people glb, obj, ply, json, npz; of motions npz, bvh, glb; by default glb,json or all"
    )
    results.add_argument("--save", metavar="KINDS", help=save)
    path_help = "a model in SMPL's format; by default $HMR_BODY, or else the open body"
    results.add_argument("--body", metavar="PATH", help=path_help)
    results.set_defaults(run=_results)


def _data_commands(commands):
    data = commands.add_parser("data", help="make, convert or look at training data")
    actions = _subcommands(data, "ACTION")

    convert = actions.add_parser("convert", help="write a real data set as records")
    convert.add_argument("name", metavar="NAME", help="lsp, coco, ...; `list` describes them")
    convert.add_argument("source", metavar="SOURCE", nargs="?", type=Path, help="its folder")
    convert.add_argument("out", metavar="OUT", nargs="?", type=Path, help="the folder of records")
    convert.add_argument("--every", metavar="N", type=int, help="take each n-th frame of videos")
    pseudo = "lsp, lsp_extended: take BlazePose's guesses as 3D points, marked as such"
    convert.add_argument("--pseudo-3d", action="store_const", const=True, help=pseudo)
    joined = "lsp, lsp_extended: join the points to learn from with BlazePose's"
    convert.add_argument("--landmarks", action="store_const", const=True, help=joined)
    kept = "Finished shards are kept; the same command goes on from there."
    convert.set_defaults(run=_data_convert, kept=kept)

    fit = actions.add_parser("fit", help="fit the body to annotated photographs: pseudo poses")
    fit.add_argument("records", metavar="RECORDS", type=Path, help="a folder, of `data convert`")
    fit.add_argument("out", metavar="OUT", type=Path, help="gets the same records, with poses")
    fit.add_argument("--landmark-model", metavar="PATH", help="another landmark network (.tflite)")
    kept = "Finished shards are kept; the same command goes on from there."
    fit.set_defaults(run=_data_fit, kept=kept)

    show = actions.add_parser("show", help="draw samples of records with their labels")
    show.add_argument("records", metavar="RECORDS", type=Path, help="a folder or a shard")
    show.add_argument("--out", metavar="PNG", type=Path, help="by default RECORDS.png")
    show.add_argument("--split", help="train, validation or test")
    show.add_argument("--count", type=int, default=24, help="how many samples, 24 by default")
    show.add_argument("--seed", type=int, default=0, help="which samples")
    show.set_defaults(run=_data_show)

    render = actions.add_parser("render", help="draw synthetic people, with all that is known")
    render.add_argument("out", metavar="OUT", type=Path, help="folder for the records")
    render.add_argument("--n", type=int, required=True, help="how many samples")
    render.add_argument(
        "--validation", metavar="N", type=int, default=0, help="so many more to validate on"
    )
    render.add_argument("--seed", type=int, default=0, help="another seed, other people")
    render.add_argument("--size", type=int, default=224, help="of a picture's side, in pixels")
    render.add_argument("--backgrounds", metavar="DIR", type=Path, help="photographs to use")
    library_help = "poses: .npz of `data mocap`; or `standing`: half of the people stand"
    render.add_argument("--library", metavar="FILE", type=Path, help=library_help)
    scheduler_help = "of Dask, as tls://HOST:PORT; by default this machine does all, without a port"
    render.add_argument("--scheduler", metavar="ADDRESS", help=scheduler_help)
    kept = "Finished shards are kept; the same command goes on from there."
    render.set_defaults(run=_data_render, kept=kept)

    mocap = actions.add_parser("mocap", help="put motion capture onto the body: a pose library")
    mocap.add_argument("folder", metavar="DIR", type=Path, help="has .amc/.asf, .bvh, AMASS .npz")
    mocap.add_argument("out", metavar="OUT", type=Path, help="gets library.npz and errors.md")
    mocap.add_argument("--fps", type=float, default=30.0, help="frames a second, 30 by default")
    joints = (
        "a map for other skeletons, {our point: joint}; or {pattern of files: a map, or {joints, "
        "unit, up, fps}}"
    )
    mocap.add_argument("--joints", metavar="JSON", type=Path, help=joints)
    unit = (
        "of length in BVH and ASF: m, cm, mm, inch, CMU, or metres; guessed from the legs if none"
    )
    mocap.add_argument("--unit", metavar="UNIT", help=unit)
    up = "the files' vertical axis: x, y, z, -x, -y or -z; found from how people stand if none"
    mocap.add_argument("--up", metavar="AXIS", help=up)
    mocap.add_argument("--body", metavar="PATH", help="a model in SMPL's format, as for `body`")
    kept = "Finished clips are kept; the same command goes on from there."
    mocap.set_defaults(run=_data_mocap, kept=kept)

    prior = actions.add_parser("prior", help="learn the pose prior again from a pose library")
    prior.add_argument("library", metavar="LIBRARY", type=Path, help="library.npz of `data mocap`")
    prior.add_argument("--out", metavar="PATH", type=Path, help="by default the package's own file")
    prior.add_argument("--components", type=int, default=32, help="Gaussians, 32 by default")
    prior.add_argument("--seed", type=int, default=0)
    prior.set_defaults(run=_data_prior)


def _predict(options):
    from hmrlib.prediction import folder, given
    from hmrlib.prediction.predictor import Predictor

    known = {"focal": options.focal}
    if options.boxes is not None:
        known["boxes"] = given.read_boxes(options.boxes)
    if options.keypoints is not None:
        known["keypoints"], known["names"] = given.read_keypoints(options.keypoints)
    paths = folder.gather(options.inputs)
    predictor = Predictor(options.model, not options.no_refine, options.landmark_model)
    one = len(paths) == 1
    outcome = folder.run(
        paths, options.out, predictor, options.save.split(","), keep=one, progress=not one, **known
    )
    if one and outcome.left_out:
        raise ValueError(*outcome.left_out.values())
    for people in outcome.people:
        for i, person in enumerate(people):
            print(f"person {i}: {person!r}\n\n{person.table()}\n")
    print(f"{len(outcome.done)} of {len(paths)} done: {outcome.pages[0]}")
    for path, why in outcome.left_out.items():
        print(f"hmr: left out: {path}: {why.removeprefix(f'{path}: ')}", file=sys.stderr)
    return 1 if outcome.left_out else 0


def _results(options):
    from hmrlib.prediction.others import read_results
    from hmrlib.prediction.person import People

    found = read_results(options.file, hmrlib.load_body(options.body))
    of_people = isinstance(found, People)
    name = "person" if of_people else "track"
    kinds = options.save or ("glb,json" if of_people else "npz,bvh,glb")
    options.out.mkdir(parents=True, exist_ok=True)
    for i, one in enumerate(found):
        for kind in kinds.split(","):
            print(one.save(options.out / f"{name}_{i}.{kind.strip().lstrip('.')}"))
    return 0


def _train(options):
    from hmrlib.training.config import read_config
    from hmrlib.training.trainer import TrainingError, train

    config, records = options.config, options.records
    if options.resume:  # what is not said again is as it was
        config = config or options.out / "config.yml"
        run = options.out / "run.json"
        records = records or (json.loads(run.read_text("utf-8"))["records"] if run.exists() else [])
    if not records:
        raise TrainingError("--records DIR is missing: `hmr data render` and `convert` write some")
    changes = {} if options.steps is None else {"steps": options.steps}
    train(read_config(config, **changes), records, options.out, options.resume)
    print(options.out / "model.keras")
    return 0


def _evaluate(options):
    from hmrlib.data.pipeline import MixedDataset
    from hmrlib.evaluation.validation import compare, table
    from hmrlib.training.checkpoint import load_model

    if options.protocol:
        return _evaluate_protocol(options)
    if not options.records:
        raise ValueError("which records? Give folders of them, or --protocol NAME")
    hmr = load_model(options.model)
    for folder in options.records:
        mixed = MixedDataset(folder, 64, crop=hmr.size, split=options.split, once=True)
        print(f"\n{folder}, {options.split}, crops of {hmr.size} px\n")
        print(table(compare(hmr, mixed)))
    return 0


def _evaluate_protocol(options):
    from hmrlib.evaluation import protocols

    if options.protocol == "list":
        _print_choices({name: one.about for name, one in protocols.PROTOCOLS.items()})
        return 0
    if options.protocol not in protocols.PROTOCOLS:
        known = ", ".join(protocols.PROTOCOLS)
        raise ValueError(f"there is no protocol {options.protocol!r}: choose from {known}")
    from hmrlib.motion.prior import load_prior
    from hmrlib.prediction.judged import landmarks, refined
    from hmrlib.training.checkpoint import load_model

    hmr = load_model(options.model)
    makers = {
        "mean": ("the mean body for everybody", lambda: protocols.mean_body(hmr)),
        "smplify": (
            "SMPLify on the true points",
            lambda: protocols.smplify(hmr.body, load_prior(), hmr.size),
        ),
        "landmarks": ("the landmarks alone", lambda: landmarks(hmr)),
        "network": ("the network", lambda: protocols.network(hmr)),
        "refined": ("the network, refined", lambda: refined(hmr)),
    }
    if unknown := set(options.rows) - set(makers):
        raise ValueError(f"--rows: {sorted(unknown)}; choose from {', '.join(makers)}")
    judged = {title: make() for name, (title, make) in makers.items() if name in options.rows}
    folders = options.records or [_strangers(options.protocol, hmr.size)]
    for folder in folders:
        results = protocols.judge(
            options.protocol, folder, judged, hmr.body, hmr.size, progress=True
        )
        print(protocols.report(results))
        if options.out:
            print(protocols.save(results, options.out))
    return 0


def _study(options):
    from hmrlib.training import studies

    if options.list or not options.names:
        _print_choices({name: one.question for name, one in studies.STUDIES.items()})
        return 0
    chosen = {name: studies.find_study(name) for name in options.names}
    if options.seeds < 1 or options.people < 1:
        raise ValueError("--seeds and --people: expected at least 1")
    import matplotlib

    matplotlib.use("agg")
    from hmrlib.people import render_people
    from hmrlib.viewing import figures

    figures.use_style()
    people = options.out / f"people-{options.people}"
    render_people(options.people, 21, people, size=224, validation=256)
    data = studies.StudyData(people, tuple(options.records), options.weights)
    given = {name: getattr(options, name) for name in ("pictures", "steps", "size")}
    setting = {name: value for name, value in given.items() if value is not None}
    for name, study in chosen.items():
        out = options.out / name
        measured = studies.run_study(study, out, data, setting, range(options.seeds))
        written = studies.save_study(study, measured, out, setting)
        print(f"\n## {name}\n\n{studies.table(study, measured, setting)}")
        print("\n".join(map(str, written)))
    return 0


def _strangers(protocol, size):
    """The records of the protocol that needs no data set: drawn, if they are not there."""
    from hmrlib.evaluation.protocols import SYNTHETIC
    from hmrlib.people import render_people

    if protocol != "synthetic":
        raise ValueError(
            f"--protocol {protocol} needs the data set's records: `hmr data convert` writes them"
        )
    folder = Path("build", "evaluation", f"synthetic-{size}")
    render_people(SYNTHETIC["people"], SYNTHETIC["seed"], folder, size=size)
    return folder


def _report(options):
    from hmrlib import report

    setting = "full" if options.full else "fast"
    try:
        documents = report.run(".", setting, options.only, options.force)
    except report.NotebookError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(*documents, sep="\n")
    return 0


def _doctor(options):
    from hmrlib import doctor

    findings = doctor.examine()
    print(doctor.told(findings))
    return 1 if any(finding.state == "broken" for finding in findings) else 0


def _completion(options):
    import shtab

    completed = {"DIR": shtab.DIRECTORY, **dict.fromkeys(FILES, shtab.FILE)}

    class Parser(argparse.ArgumentParser):
        def add_argument(self, *names, **given):
            action = super().add_argument(*names, **given)
            if given.get("metavar") in completed:
                action.complete = completed[given["metavar"]]
            return action

    print(shtab.complete(_parser(Parser), options.shell))
    return 0


def _app(options):
    from hmrlib.viewing import app

    app.serve(options.port, not options.no_browser, options.pages)
    return 0


def _read_body(path):
    """The arrays of a model file, chosen as `hmrlib.load_body` does, but without Keras."""
    from hmrlib.body import files

    path = files.default_path(path)
    return path, files.read_model(path)


def _body_info(options):
    path, model = _read_body(options.body)
    heights = model["v_template"][:, 1]
    _print_entries(
        {
            "file": f"{path}, {path.stat().st_size / 2**20:.2f} MiB",
            "vertices": len(heights),
            "faces": len(model["f"]),
            "joints": model["weights"].shape[1],
            "betas": model["shapedirs"].shape[2],
            "mean height": f"{heights.max() - heights.min():.3f} m",
        }
    )
    if "card" in model:
        print()
        _print_entries(json.loads(str(model["card"])))
    return 0


def _print_choices(choices):
    """A dict from what one may type to what it is."""
    for name, about in choices.items():
        _print_paragraph(f"{name:<14}", about)


def _print_entries(entries, indent=""):
    """A dict as text: one line an entry, what is nested indented below its name."""
    for name, value in entries.items():
        name = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            print(name)
            _print_entries(value, indent + "  ")
        elif isinstance(value, list) and not all(isinstance(item, int | float) for item in value):
            print(name)
            for item in value:
                _print_paragraph(f"{indent}  - ", str(item))
        else:
            text = f"{value:,}" if type(value) is int else str(value)
            _print_paragraph(f"{name:<24}  ", text)


def _print_paragraph(start, text):
    print(textwrap.fill(text, 96, initial_indent=start, subsequent_indent=" " * len(start)))


def _model_info(options):
    from hmrlib.training.checkpoint import describe_model

    _print_entries(describe_model(options.model))
    return 0


def _body_show(options):
    print(hmrlib.show(hmrlib.load_body(options.body)))
    return 0


def _body_export(options):
    from hmrlib.body import files

    _, model = _read_body(options.body)
    if options.format == "pkl":
        written = files.export_for_peers(model, options.folder)
    else:
        options.folder.mkdir(parents=True, exist_ok=True)
        written = [options.folder / f"body.{options.format}"]
        files.write_model(written[0], model)
    print("\n".join(str(path) for path in written))
    return 0


def _body_build(options):
    from hmrlib import learn

    settings = learn.FAST if options.fast else learn.FULL
    print(learn.build(options.out, settings, options.fresh))
    return 0


def _data_convert(options):
    from hmrlib.data import datasets

    if options.name == "list":
        for name, licence in datasets.LICENCES.items():
            reader = datasets.DATASETS.get(name, datasets.amass)
            about = f"{reader.__doc__.splitlines()[0]} Licence: {licence}"
            _print_paragraph(f"{name:<14}", about)
        return 0
    if options.source is None or options.out is None:
        raise ValueError(f"expected NAME SOURCE OUT, found only {options.name}")
    if options.name == "amass":  # poses without pictures: no records
        library, table = datasets.amass(options.source, options.out)
        print(f"{table}\n{library}")
        return 0
    names = ("every", "pseudo_3d", "landmarks")
    given = {name: getattr(options, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    _print_entries(datasets.convert(options.name, options.source, options.out, **given))
    return 0


def _data_fit(options):
    from hmrlib.prediction import pseudo
    from hmrlib.prediction.predictor import Predictor

    predictor = Predictor(landmark_model=options.landmark_model)
    index = pseudo.fit_records(options.records, options.out, predictor=predictor)
    _print_entries({"samples": index["samples"], **index["notes"]})
    print(f"\n{pseudo.coverage(options.out)}")
    return 0


def _data_show(options):
    import matplotlib

    matplotlib.use("agg")
    import hmrlib
    from hmrlib.data import records
    from hmrlib.io import atomic_write
    from hmrlib.viewing import figures

    figures.use_style()
    read = records.open_records(options.records, options.split)
    samples = read.draw(options.count, options.seed)
    body = hmrlib.load_body() if any(sample["has_pose"] for sample in samples) else None
    out = options.out or options.records.with_suffix(".png")
    sheet = figures.contact_sheet(samples, body=body)
    with atomic_write(out) as file:
        sheet.savefig(file, dpi=150, format=out.suffix[1:] or "png")
    print(f"{len(samples)} of {len(read)} samples: {out}")
    return 0


def _data_render(options):
    from hmrlib.people import render_people

    index = render_people(
        options.n,
        options.seed,
        options.out,
        options.backgrounds,
        options.library,
        options.size,
        options.scheduler,
        validation=options.validation,
    )
    _print_entries({"samples": index["samples"], "folder": str(options.out)})
    return 0


def _data_mocap(options):
    import hmrlib
    from hmrlib.motion import gather

    joints = None if options.joints is None else gather.read_joints(options.joints)
    body = hmrlib.load_body(options.body)
    library, table = gather.build_library(
        options.folder, options.out, body, options.fps, joints, options.unit, options.up
    )
    print(f"{table}\n{library}")
    return 0


def _data_prior(options):
    from hmrlib.motion import prior

    made = prior.train(options.library, options.out, options.components, options.seed)
    _print_entries(made.card)
    return 0


if __name__ == "__main__":
    sys.exit(main())
