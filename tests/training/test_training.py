"""Training: settings, resuming to the very step, interrupts, checkpoints, several devices."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
from matplotlib import pyplot as plt

import hmrlib
from hmrlib import skeleton
from hmrlib.cli import main
from hmrlib.evaluation.validation import ERRORS, mean_model
from hmrlib.io import FolderInUseError, locked
from hmrlib.network.discriminator import Discriminator
from hmrlib.network.hmr import HMR, ModelError
from hmrlib.network.regressor import read_mean_theta
from hmrlib.training.adversarial import LOSSES, build_optimizer
from hmrlib.training.checkpoint import TrainingError, load_checkpoint, read_about, save_checkpoint
from hmrlib.training.config import ConfigError, TrainConfig, read_config
from hmrlib.training.live import LiveCurves
from hmrlib.training.logs import read_log
from hmrlib.training.trainer import build_model, open_data, train
from tests import tiny_encoder  # noqa: F401, a small network by name
from tests.conftest import ROOT
from tests.io.test_io import limited
from tests.sample_people import people, write_people

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def records(folder):
    return write_people(folder / "records", train=12, validation=4, size=48)


@pytest.fixture(scope="module")
def library(folder):
    poses = [skeleton.pose_from_degrees(pose) for pose in skeleton.POSES.values()]
    path = folder / "poses.npz"
    np.savez(path, pose=np.array(poses, np.float32))
    return str(path)


@pytest.fixture(scope="module")
def config(library):
    """A training that takes seconds."""
    return read_config(
        encoder="TinyEncoder",
        encoder_weights=None,
        size=32,
        hidden=16,
        batch_size=4,
        steps=6,
        learning_rate=1e-3,
        checkpoint_every=2,
        validate_every=3,
        overlays=1,
        poses=library,
    )


@pytest.fixture(scope="module")
def run(folder, config, records):
    """A training that nothing disturbed."""
    out = folder / "run"
    return train(config, [records], out), out


def changed(config, **settings):
    return TrainConfig(**{**vars(config), **settings})


# --- a whole training ---


def test_leaves_all_that_it_should(run, config):
    hmr, out = run
    names = {path.name.split(".")[0] for path in out.iterdir()}
    assert names == {"config", "run", "last", "best", "log", "validation", "model", "events"}
    log = read_log(out / "log.csv")
    assert log["step"].tolist() == [1, 2, 3, 4, 5, 6]
    weights = {name: getattr(config, name, config.adversarial) for name in LOSSES}
    expected = sum(weights[name] * log[name] for name in LOSSES)
    np.testing.assert_allclose(log["loss"], expected, rtol=1e-5)
    assert read_config(out / "config.yml") == config
    about = json.loads((out / "run.json").read_text("utf-8"))
    assert (
        about["packages"]["keras"] == keras.__version__ and len(about["commit"] or 40 * "0") == 40
    )
    errors = read_log(out / "validation.csv")
    assert errors["step"].tolist() == [3, 6] and (errors["samples_3d"] == 4).all()
    assert (errors["pve"] > 10).all()  # mm: after six steps nobody is found
    assert read_about(out / "model.npz")["best"] == min(errors["pa_mpjpe"])
    best = hmrlib.load_model(out)
    again = hmrlib.load_model(out / "model.keras")
    images = np.zeros((1, 32, 32, 3), np.uint8)
    expected = best.recover(images)[-1].theta
    np.testing.assert_allclose(again.recover(images)[-1].theta, expected, atol=1e-5)
    half = hmrlib.load_model(out / "model.npz")  # 11 bits of precision
    np.testing.assert_allclose(half.recover(images)[-1].theta, expected, atol=2e-3)
    assert (out / "model.npz").stat().st_size < 0.6 * (out / "model.keras").stat().st_size
    if errors["pa_mpjpe"].argmin() == 1:  # the best was the last
        np.testing.assert_allclose(hmr.recover(images)[-1].theta, expected, atol=1e-5)


def test_encoder_can_be_held(tmp_path, config, records):
    """It keeps its first weights, the regressor does not, and a training goes on from there."""
    held = changed(config, freeze_encoder=True, freeze_norm=True, steps=2, overlays=0)
    first = build_model(held).hmr
    hmr = train(held, [records], tmp_path / "held")
    for before, after in zip(first.encoder.variables, hmr.encoder.variables, strict=True):
        np.testing.assert_array_equal(before.value, after.value)
    assert not np.array_equal(
        first.regressor.trainable_variables[0], hmr.regressor.trainable_variables[0]
    )
    assert train(changed(held, steps=4), [records], tmp_path / "held", resume=True)


def test_starts_from_a_trained_network(tmp_path, run, config, records):
    """... of pictures of another size, and learns from there on."""
    further = changed(
        config, start_from=str(run[1] / "model.npz"), size=48, steps=1, learning_rate=1e-9
    )
    hmr = train(further, [records], tmp_path / "further")
    first = hmrlib.load_model(run[1])
    for before, after in zip(first.variables, hmr.variables, strict=True):
        if before.trainable:
            np.testing.assert_allclose(before.value, after.value, rtol=1e-3, atol=1e-6)
    wider = train(changed(further, hidden=8), [records], tmp_path / "wider")  # the encoder alone
    for before, after in zip(first.encoder.variables, wider.encoder.variables, strict=True):
        if before.trainable:
            np.testing.assert_allclose(before.value, after.value, rtol=1e-3, atol=1e-6)
    with pytest.raises(ConfigError, match="has another encoder, TinyEncoder"):
        train(changed(further, encoder="MobileNet"), [records], tmp_path / "other")
    with pytest.raises(ModelError, match="no model at"):
        train(changed(further, start_from="nowhere"), [records], tmp_path / "lost")


def test_evaluate_puts_the_mean_body_beside(run, records, capsys):
    assert main(["evaluate", str(records), "--model", str(run[1]), "--split", "validation"]) == 0
    head, _, mean, network = capsys.readouterr().out.strip().splitlines()[2:]
    assert head.strip("| ").split(" | ") == list(ERRORS.values())
    mean, network = ([float(x) for x in row.split("|")[2:-1]] for row in (mean, network))
    log = read_log(run[1] / "validation.csv")
    best = log["pa_mpjpe"].argmin()
    np.testing.assert_allclose(network, [log[name][best] for name in ERRORS], rtol=5e-3)
    untrained = mean_model(hmrlib.load_model(run[1]))
    thetas = untrained.recover(np.zeros((2, 32, 32, 3), np.uint8))[-1].theta
    np.testing.assert_allclose(thetas, read_mean_theta()[None].repeat(2, 0), atol=1e-6)


def test_tensorboard_reads_its_events(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (path,) = run[1].glob("events.*")
    events = EventAccumulator(str(path), size_guidance={"images": 0}).Reload()
    losses = [event.value for event in events.Scalars("loss/reprojection")]
    np.testing.assert_allclose(losses, read_log(run[1] / "log.csv")["reprojection"], rtol=1e-5)
    assert events.Scalars("rate/discriminator")[0].value == pytest.approx(1e-4)
    assert [image.step for image in events.Images("overlay/0")] == [3, 6]


def test_ctrl_c_then_resume_equals_undisturbed(folder, run, config, records):
    out = folder / "interrupted"

    def ask():
        while not (out / "last.npz").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    asking = threading.Thread(target=ask, daemon=True)  # waits for ever if the training fails
    asking.start()
    with pytest.raises(KeyboardInterrupt):
        train(changed(config, checkpoint_every=1, steps=500), [records], out)
    asking.join()
    steps = len(read_log(out / "log.csv")["step"])
    assert 1 <= steps < 500
    with np.load(out / "last.npz") as archive:  # kept at the very step
        assert json.loads(str(archive["about"]))["step"] == steps
    with open(out / "log.csv", "a") as file:  # as if it had been killed later, between checkpoints
        file.write(f"{steps + 1},1,1,1,1,1,1,1\n{steps + 2},1,1")
    undisturbed, end = run[1], 6
    if steps >= end:  # Ctrl-C came late
        undisturbed, end = folder / "longer", steps + 2
        train(changed(config, steps=end), [records], undisturbed)
    train(changed(config, steps=end), [records], out, resume=True)
    first, second = read_log(out / "log.csv"), read_log(undisturbed / "log.csv")
    for name in ("step", "loss", *LOSSES):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-3, err_msg=name)


@pytest.fixture(scope="module")
def validated(folder, config, records):
    """A training that looks at its network after each step; its settings."""
    settings = changed(config, steps=2, checkpoint_every=1, validate_every=1, overlays=0)
    settings.save(folder / "validated.yml")
    train(settings, [records], folder / "validated")
    return settings


@pytest.mark.parametrize("at", [1, 3])
def test_a_kill_between_two_files_loses_no_best_network(folder, validated, records, at):
    """Of the checkpoints after a step, `best` and then `last`."""
    out = folder / f"killed{at}"
    code = (
        "import os\n"
        "from hmrlib.training import callbacks\n"
        "written, save = [], callbacks.save_checkpoint\n"
        "def save_checkpoint(path, *rest):\n"
        "    save(path, *rest); written.append(path)\n"
        f"    if len(written) == {at}: os._exit(9)\n"
        "callbacks.save_checkpoint = save_checkpoint"
    )
    files = ("--config", folder / "validated.yml", "--records", records, "--out", out)
    finish(command("train", *files, before=f"exec({code!r})"), status=9)
    train(validated, [records], out, resume=(out / "last.npz").exists())
    assert_same_ends(folder / "validated", out)
    for name in ("best.npz", "last.npz", "model.npz"):
        kept, expected = (read_about(at / name)["best"] for at in (out, folder / "validated"))
        assert kept == pytest.approx(expected, rel=1e-4), name
    assert kept == pytest.approx(read_log(out / "validation.csv")["pa_mpjpe"].min(), rel=1e-6)


def test_an_older_best_network_is_not_the_best_for_ever(tmp_path, run, config, records):
    """`last` says that a better one was found, and `best` is an older one: a kill came between."""
    shutil.copytree(run[1], tmp_path / "out")
    model = build_model(config)
    for name, best in (("last.npz", 1e-6), ("best.npz", 1e6)):
        about = load_checkpoint(run[1] / name, model)
        about = {"step": 3, "waited": 0, "best": best}
        save_checkpoint(tmp_path / "out" / name, model, about)
    train(config, [records], tmp_path / "out", resume=True)
    assert read_about(tmp_path / "out" / "best.npz")["step"] == 6
    assert read_about(tmp_path / "out" / "model.npz")["best"] < 1e6


def test_a_log_that_a_full_disk_cut_short_is_begun_anew(tmp_path, config, records):
    for name, left in (("log.csv", "step,lo"), ("validation.csv", "")):
        (tmp_path / name).write_text(left)
        assert read_log(tmp_path / name) == {}
    train(changed(config, steps=1, overlays=0), [records], tmp_path)
    for name in ("log.csv", "validation.csv"):
        assert read_log(tmp_path / name)["step"].tolist() == [1]


def test_a_log_that_lacks_a_newer_loss_goes_on_without_it(tmp_path, run, config, records):
    train(changed(config, steps=2), [records], tmp_path)
    rows = [line.split(",") for line in (tmp_path / "log.csv").read_text("utf-8").splitlines()]
    column = rows[0].index("maps")
    lines = [",".join(row[:column] + row[column + 1 :]) + "\n" for row in rows]
    (tmp_path / "log.csv").write_text("".join(lines), "utf-8")
    train(changed(config, steps=4), [records], tmp_path, resume=True)
    log, whole = read_log(tmp_path / "log.csv"), read_log(run[1] / "log.csv")
    assert "maps" not in log and len(log) == len(whole) - 1
    for name, column in log.items():
        np.testing.assert_allclose(column, whole[name][:4], rtol=1e-3, err_msg=name)


def test_a_line_that_is_being_written_is_not_read(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss\n1,2.5\n2,3.2")
    assert {name: list(v) for name, v in read_log(tmp_path / "log.csv").items()} == {
        "step": [1.0],
        "loss": [2.5],
    }


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit to a file's size")
def test_a_full_disk_is_named_and_the_training_goes_on_when_there_is_room(
    tmp_path, run, config, records
):
    for size, name in ((60, "config.yml|log.csv|events"), (9_000, "best.npz|last.npz")):
        out = tmp_path / str(size)
        with pytest.raises(OSError, match=rf"could not be written \(File too large\).*({name})"):
            limited(size, lambda out=out: train(config, [records], out))
        assert not [path.name for path in out.glob(".*")]
    train(config, [records], out)
    assert_same_ends(run[1], out)
    first, second = (read_log(folder / "log.csv") for folder in (run[1], out))
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-5)


def test_two_trainings_do_not_share_a_folder(tmp_path, config, records):
    with locked(tmp_path), pytest.raises(FolderInUseError, match="another run is writing"):
        train(config, [records], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_stops_early(folder, config, records):
    out = folder / "early"
    settings = {"validate_every": 1, "patience": 2, "steps": 60, "learning_rate": 1e-9}
    train(changed(config, **settings, overlays=0, adversarial=0.0), [records], out)
    errors = read_log(out / "validation.csv")["pa_mpjpe"]
    assert len(errors) < 60
    assert np.argmin(errors) == len(errors) - 1 - 2


def test_warmup_and_cosine(config):
    hmr = HMR(config.network, encoder_weights=None)
    discriminator = Discriminator()
    settings = changed(config, warmup=10, cosine=True, steps=110, regressor_rate=1e-2)
    optimizer = build_optimizer(hmr, discriminator, settings)
    optimizer.build([*hmr.trainable_variables, *discriminator.trainable_variables])
    tops = {}
    for side in optimizer.optimizers:
        rates = []
        for step in (0, 5, 10, 60, 110):
            side.iterations.assign(step)
            rates.append(float(side.learning_rate))
        tops[len(side.variables)] = rates[2]
        np.testing.assert_allclose(np.array(rates) / rates[2], [0, 0.5, 1, 0.5, 0], atol=1e-6)
    np.testing.assert_allclose(sorted(tops.values()), [1e-4, 1e-3, 1e-2], rtol=1e-5)


# --- what goes wrong ---


def test_another_training_is_not_overwritten(run, config, records):
    with pytest.raises(TrainingError, match="holds a training"):
        train(config, [records], run[1])


def test_another_configuration_is_not_resumed(run, config, records):
    with pytest.raises(ConfigError, match="other settings: hidden, seed"):
        train(changed(config, hidden=8, seed=1), [records], run[1], resume=True)


def test_nothing_to_resume(tmp_path, config, records):
    with pytest.raises(TrainingError, match="no checkpoint"):
        train(config, [records], tmp_path, resume=True)


def test_features_stand_for_their_pictures(config, records):
    model = build_model(config)
    batch = open_data(config, [records])[0][0]
    seen = model(batch)
    features = model.hmr.encode(batch.pop("image"))
    again = model({**batch, "features": features})
    for one, other in zip(keras.tree.flatten(seen), keras.tree.flatten(again), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_curves_are_drawn_while_it_trains(tmp_path, config, records):
    curves = LiveCurves(("reprojection", "smpl"), ("adversarial",), every=1)
    train(changed(config, steps=2), [records], tmp_path / "out", callbacks=[curves])
    log = read_log(tmp_path / "out" / "log.csv")
    assert set(curves.history) == {"reprojection", "smpl", "adversarial"}
    for name, line in curves.lines.items():
        np.testing.assert_allclose(curves.history[name], log[name], rtol=1e-6)
        np.testing.assert_allclose(line.get_ydata(), log[name], rtol=1e-6)
    assert not plt.fignum_exists(curves.figure.number)  # else a notebook shows it twice


def test_checkpoint_of_another_network(run, config):
    with pytest.raises(TrainingError, match="of another network"):
        load_checkpoint(run[1] / "last.npz", build_model(changed(config, hidden=8)))


def test_damaged_checkpoint(tmp_path, run):
    whole = (run[1] / "last.npz").read_bytes()
    (tmp_path / "last.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match="damaged"):
        hmrlib.load_model(tmp_path)
    np.savez(tmp_path / "last.npz", betas=np.zeros(10))
    with pytest.raises(TrainingError, match="none of hmrlib's: it lacks 'about'"):
        hmrlib.load_model(tmp_path)
    (tmp_path / "last.npz").unlink()
    with pytest.raises(TrainingError, match="no checkpoint"):
        hmrlib.load_model(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit to a file's size")
def test_full_disk_keeps_the_checkpoint_before(tmp_path, config):
    path, model = tmp_path / "last.npz", build_model(config)
    save_checkpoint(path, model, {"step": 1})
    with pytest.raises(OSError, match=r"could not be written.*The one before is kept"):
        limited(100_000, lambda: save_checkpoint(path, model, {"step": 2}))
    assert [file.name for file in tmp_path.iterdir()] == ["last.npz"]
    assert load_checkpoint(path, model)["step"] == 1


def without_3d(sample):
    names = ("keypoints_3d", "pose", "betas", "translation")
    return {name: value for name, value in sample.items() if name not in names}


def test_no_3d_and_no_real_poses(tmp_path, config):
    flat = write_people(tmp_path, 4, 0, 48, without_3d)
    with pytest.raises(TrainingError, match="none of the 4 records has any 3D label"):
        open_data(changed(config, poses=None, adversarial=0.0), [flat])
    with pytest.raises(TrainingError, match="the adversary needs real poses"):
        open_data(changed(config, poses=None), [flat])
    mixed, watched = open_data(config, [flat])  # with poses it can be learned
    assert watched is None and mixed[0]["mocap_pose"].shape == (4, 24, 3)


def test_a_label_that_is_not_finite_is_named_and_not_learned(tmp_path, config):
    """Not ours: hmrlib writes no such record."""
    tf = pytest.importorskip("tensorflow", reason="writes its record by TensorFlow")
    from hmrlib.data.records import encode_sample

    with tf.io.TFRecordWriter(str(tmp_path / "train-00000.tfrecord")) as writer:
        for sample in people(4, size=48):
            example = tf.train.Example.FromString(encode_sample(sample))
            if sample["id"] == "0-2":
                example.features.feature["betas"].float_list.value[3] = np.nan
            writer.write(example.SerializeToString())
    mixed = open_data(config, [tmp_path])[0]
    batches = [mixed[step] for step in range(3)]
    assert all(np.isfinite(batch["betas"]).all() for batch in batches)
    (reason,) = mixed.skipped
    assert "record 2: a number is not finite" in reason


def test_a_loss_that_diverges_is_no_silent_nan(tmp_path, config, records):
    wild = changed(config, learning_rate=1e18, steps=40)
    with pytest.raises(TrainingError, match="the learning rate is too high"):
        train(wild, [records], tmp_path)


# --- settings ---


def test_settings_survive_yaml(tmp_path):
    config = TrainConfig(shares=(0.5, 0.5), augmentation={"rotation": 0.0}, clip_norm=1)
    config.save(tmp_path / "c.yml")
    assert read_config(tmp_path / "c.yml") == config
    (tmp_path / "d.yml").write_text("learning_rate: 1e-5\nadversarial: 2\n")
    config = read_config(tmp_path / "d.yml", steps=7)
    assert (config.learning_rate, config.adversarial, config.steps) == (1e-5, 2.0, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learningrate: 1", "unknown settings learningrate"),
        ("steps: many", "steps: expected <class 'int'>, found 'many'"),
        ("batch_size: 0", "batch_size must be above 0"),
        ("cosine: 1", "cosine: expected <class 'bool'>"),
        ("dropout: -0.1", "dropout must be at least 0"),
        ("learning_rate: .nan", "learning_rate must be finite, found nan"),
        ("- a", "expected `name: value` lines"),
        ("a: [", "cannot read the settings"),
        ("weight_decay: .inf", "weight_decay must be finite, found inf"),
        ("weight_decay: inf", "weight_decay must be finite, found inf"),
        ("augmentation: {scale: [.nan, 2]}", "augmentation must be finite, found nan"),
        ("augmentation: {scales: [1, 2]}", "augmentation: .*scales"),
        ("augmentation: {scale: [1]}", "augmentation: "),
        ("shares: [0.5, many]", "shares: expected"),
        ("shares: 0.5", "shares: expected"),
        ("shares: [1, -1]", "shares must be at least 0, found -1"),
        ("dropout: 1", "dropout must be below 1, found 1"),
        ("distance: l3", "distance: expected l2 or l1, found 'l3'"),
        ("rotation: euler", "rotation: expected axis_angle or 6d, found 'euler'"),
        (f"weight_decay: {'9' * 400}", "weight_decay: expected"),
        ("steps: 2026-01-01", "steps: expected <class 'int'>, found '2026-01-01'"),
        ("2026-01-01: 1", "unknown settings 2026-01-01"),
        ("1: 2", "the name 1 is no text"),
        ("? [a, b]\n: 1", "is no text|unhashable"),
        ("steps: 1\nsteps: 2", "the name 'steps' is there twice"),
        ("poses: &a [1]\nshares: *a", r"an alias \(\*name\)"),
        ("poses: &a [*a]", "an alias"),
        ("poses: " + "[" * 5000, "nested too deeply"),
        (f"poses: '{'x' * 70000}'", "more than 64 KiB"),
        (b"poses: k\xf6rper", "c.yml: 'utf-8' codec"),
        (b"\xff\xfes\x00", "c.yml: 'utf-8' codec"),
        ("poses: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
    ],
)
def test_bad_settings(tmp_path, text, message):
    (tmp_path / "c.yml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=message):
        read_config(tmp_path / "c.yml")


def test_the_settings_that_come_along_are_settings():
    for path in (ROOT / "notebooks" / "params").glob("*.yml"):
        if path.stem not in ("fast", "full"):
            read_config(path)


def test_the_papers_own_network_comes_along():
    """All that the paper says of network and losses; what a training costs may differ."""
    own, paper = read_config(ROOT / "notebooks" / "params" / "resnet50v2.yml"), TrainConfig()
    named = ("encoder", "rotation", "iterations", "hidden", "dropout", "keypoint_maps", "distance",
             "reprojection", "joints_3d", "smpl", "adversarial", "poses", "box_input")  # fmt: skip
    assert {name: getattr(own, name) for name in named} == {
        name: getattr(paper, name) for name in named
    }


# --- the command ---


def test_command_says_what_is_missing(tmp_path, capsys):
    assert main(["train", "--out", str(tmp_path)]) == 2
    assert "--records" in capsys.readouterr().err
    assert main(["train", "--out", str(tmp_path), "--records", str(tmp_path)]) == 2
    assert "no records" in capsys.readouterr().err


# --- several devices, and other engines ---


def command(*arguments, before, **environment):
    """`hmr ...` in a process of its own that does something `before`."""
    code = (
        f"import sys; {before}; import tests.tiny_encoder; from hmrlib.cli import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process, status=0):
    output = process.communicate()[0]
    assert process.returncode == status, output
    return output


def assert_same_weights(one, other):
    """The same weights, but for float32 sums in another order.

    Where a slope is next to nothing, its last bits are all of it, and Adam makes a whole step of
    them: so of the weights, nearly all.
    """
    files = [np.load(out / "last.npz") for out in (one, other)]
    for name in files[0].files:
        if name.startswith(("hmr/", "discriminator/")):
            same = np.isclose(files[1][name], files[0][name], rtol=1e-4, atol=1e-5)
            assert same.mean() > 0.98, name


def assert_same_ends(one, other):
    assert_same_weights(one, other)
    errors = [read_log(out / "validation.csv") for out in (one, other)]
    for name, found in errors[0].items():
        np.testing.assert_allclose(errors[1][name], found, rtol=1e-3, err_msg=name)


@pytest.mark.backends
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="needs Keras on JAX")
def test_two_processes_end_as_one_and_need_no_tensorflow(tmp_path, config, records):
    def on_jax(name, steps, **environment):
        settings = {"checkpoint_every": 1, "validate_every": 1000, "learning_rate": 1e-4}
        changed(config, steps=steps, **settings).save(tmp_path / f"{name}.yml")
        return command(
            *("train", "--config", tmp_path / f"{name}.yml", "--records", records),
            *("--out", tmp_path / name),
            before="sys.modules['tensorflow'] = None",
            JAX_DISABLE_MOST_OPTIMIZATIONS="1",  # to compile in half the time
            **environment,
        )

    with socket.socket() as free:
        free.bind(("localhost", 0))
        job = {"JOB_ADDRESSES": f"localhost:{free.getsockname()[1]}", "NUM_PROCESSES": "2"}
    job = {f"KERAS_DISTRIBUTION_{name}": value for name, value in job.items()}
    both = [
        on_jax("two", 500, **job, KERAS_DISTRIBUTION_PROCESS_ID=str(number)) for number in (0, 1)
    ]
    while not (tmp_path / "two" / "last.npz").exists() and both[0].poll() is None:
        time.sleep(0.01)
    both[1].send_signal(signal.SIGINT)  # to the one that does not write: they end together
    for process in both:
        assert "The last checkpoint is kept" in finish(process, status=130)
    steps = len(read_log(tmp_path / "two" / "log.csv")["step"])
    assert 1 <= steps < 500
    assert str(tmp_path / "one" / "model.keras") in finish(on_jax("one", steps))
    assert_same_weights(tmp_path / "one", tmp_path / "two")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a strategy of TensorFlow")
def test_two_devices_end_as_one(tmp_path, config, records):
    # each device has its own batch statistics and dropout, and its own mean over what is known
    same = {"dropout": 0.0, "freeze_norm": True, "augmentation": None, "overlays": 0, "steps": 3}
    train(changed(config, **same), [records], tmp_path / "one")
    changed(config, **same, devices=2).save(tmp_path / "c.yml")
    split = (
        "import tensorflow as tf; tf.config.set_logical_device_configuration("
        "tf.config.list_physical_devices('CPU')[0], 2 * [tf.config.LogicalDeviceConfiguration()])"
    )
    files = ("--config", tmp_path / "c.yml", "--records", records, "--out", tmp_path / "two")
    finish(command("train", *files, before=split))
    assert_same_ends(tmp_path / "one", tmp_path / "two")


def test_more_devices_than_there_are(tmp_path, config, records):
    with pytest.raises(TrainingError, match="4 devices are asked for, but there are 1"):
        train(changed(config, devices=4), [records], tmp_path)
