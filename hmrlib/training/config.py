"""All settings of a training, in one frozen dataclass; YAML in and out."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import ClassVar

import yaml

from hmrlib.io import atomic_write


class ConfigError(ValueError):
    """Settings that do not exist, or values that they cannot have."""


# how long and how often; all else must be the same for a training to go on from a checkpoint (the
# number of steps, too, where the learning rates follow it)
MAY_CHANGE = ("steps", "checkpoint_every", "validate_every", "patience", "overlays")


@dataclass(frozen=True)
class Config:
    """The settings, HMR's own as defaults.

    Attributes:
        encoder, encoder_weights, size, rotation, iterations, hidden, dropout, train_mean,
            box_input, freeze_norm, compute, keypoint_maps: see `hmrlib.network.hmr.HMR`.
        start_from: a trained network whose weights are the first ones, instead of the encoder's
            alone: "shipped" is the package's, else what `load_model` takes. `size`, `dropout`,
            `freeze_norm` and `compute` may be others than that network's; where the regressor or
            the maps are, only the encoder that both share is taken.
        reprojection, maps, joints_3d, smpl, adversarial, weight_decay: weights of the losses; 0
            leaves one out. HMR: lambda = 60 for what labels say, 1 for the adversary; maps count
            only with `keypoint_maps`.
        distance: "l2" as in HMR or "l1", for 3D keypoints and rotations.
        pseudo_3d: learn also from 3D labels that are another model's guesses.
        batch_size: pictures a step; HMR: 64.
        steps: of the whole training.
        learning_rate, discriminator_rate: of Adam, for the encoder and regressor, and for the
            discriminator; HMR: 1e-5, 1e-4.
        regressor_rate: of the regressor alone; None is `learning_rate`.
        warmup: steps in which the rates grow from 0.
        cosine: let the rates fall to 0 along a cosine until `steps`.
        clip_norm: longest gradient of each network; None does not clip.
        augmentation: fields of `hmrlib.data.pipeline.Augmentation`, for those that differ from its
            defaults; None: no augmentation at all.
        shares: of each batch, one for each folder of records; empty: by their sizes.
        poses: real poses for the adversary: "prior" (the package's), or the path of a library;
            None: no adversary.
        seed: of everything random.
        checkpoint_every, validate_every: steps.
        patience: stop after so many validations without a better one; 0 never stops.
        overlays: pictures that go to TensorBoard with each validation.
        devices: 1, or the number of GPUs to share each batch among; 0 takes all there are. Several
            machines: see `hmrlib.training.trainer.distribute`.
    """

    encoder: str = "ResNet50V2"
    encoder_weights: str | None = "imagenet"
    size: int = 224
    rotation: str = "axis_angle"
    iterations: int = 3
    hidden: int = 1024
    dropout: float = 0.5
    train_mean: bool = False
    box_input: bool = False
    freeze_norm: bool = False
    compute: str = "float32"
    keypoint_maps: bool = False
    start_from: str | None = None
    reprojection: float = 60.0
    maps: float = 60.0
    joints_3d: float = 60.0
    smpl: float = 60.0
    adversarial: float = 1.0
    weight_decay: float = 1e-4
    distance: str = "l2"
    pseudo_3d: bool = False
    batch_size: int = 64
    steps: int = 100_000
    learning_rate: float = 1e-5
    discriminator_rate: float = 1e-4
    regressor_rate: float | None = None
    warmup: int = 0
    cosine: bool = False
    clip_norm: float | None = None
    augmentation: dict | None = field(default_factory=dict)
    shares: tuple[float, ...] = ()
    poses: str | None = "prior"
    seed: int = 0
    checkpoint_every: int = 1000
    validate_every: int = 1000
    patience: int = 0
    overlays: int = 4
    devices: int = 1

    def __post_init__(self):
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if entry.type in (float, float | None):
                value = _number(value)
            if entry.name == "shares":
                value = tuple(map(_number, value)) if isinstance(value, list | tuple) else value
                value = () if value is None else value
            object.__setattr__(self, entry.name, value)
            _check(entry, value)

    @property
    def model(self):
        """The settings of the network: arguments of `HMR`."""
        names = (
            "encoder encoder_weights size rotation iterations hidden dropout train_mean box_input "
            "freeze_norm compute keypoint_maps"
        )
        return {name: getattr(self, name) for name in names.split()}

    def save(self, path):
        """Write the settings as YAML."""
        settings = dataclasses.asdict(self) | {"shares": list(self.shares)}
        with atomic_write(path) as file:
            file.write(yaml.safe_dump(settings, sort_keys=False).encode())

    def differences(self, other):
        """Names of the settings that differ and must not, for one training to be the other's."""
        may_change = set(MAY_CHANGE) - ({"steps"} if self.cosine else set())
        return [
            entry.name
            for entry in dataclasses.fields(self)
            if entry.name not in may_change
            and getattr(self, entry.name) != getattr(other, entry.name)
        ]


def read_config(path=None, **changes):
    """Settings from a YAML file and keyword arguments; what neither names keeps its default.

    Raises:
        ConfigError: the file is missing or no mapping, a setting is unknown or there twice, or a
            value is bad.
    """
    settings = {} if path is None else read_yaml(path)
    settings |= changes
    known = [entry.name for entry in dataclasses.fields(Config)]
    if unknown := sorted(settings.keys() - set(known)):
        raise ConfigError(f"unknown settings {', '.join(unknown)}; known are {', '.join(known)}")
    return Config(**settings)


MOST_YAML = 2**16  # bytes; a file of settings has two thousand


def read_yaml(path):
    """The `name: value` lines of a YAML file: numbers, text, yes and no, lists and mappings.

    Raises:
        ConfigError: the file is missing, not UTF-8, too long, or no mapping; it has a name twice, a
            name that is no text, an alias (a few of which unfold without end), or a number that is
            not finite.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_YAML + 1)
        if len(data) > MOST_YAML:
            raise ConfigError(f"{path}: expected a file of settings, found more than 64 KiB")
        settings = yaml.load(data.decode("utf-8-sig"), _Loader)
        settings = {} if settings is None else settings
        if not isinstance(settings, dict):
            raise ConfigError(f"{path}: expected `name: value` lines")
        for name, value in settings.items():
            _check_finite(name, value)
    except RecursionError as error:
        raise ConfigError(f"cannot read the settings: {path} is nested too deeply") from error
    except ConfigError:
        raise
    except (OSError, ValueError, yaml.YAMLError) as error:  # another encoding is a ValueError
        raise ConfigError(f"cannot read the settings in {path}: {error!s:.500}") from error
    return settings


class _Loader(yaml.SafeLoader):
    """YAML without what settings do not need: aliases, dates, names that are no text or twice."""

    yaml_implicit_resolvers: ClassVar = {
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, "an alias (*name), write the value again", self.peek_event().start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        names = set()
        for entry, _ in node.value:
            name = self.construct_object(entry, deep=True)
            if not isinstance(name, str) or name in names:
                wrong = "is there twice" if isinstance(name, str) else "is no text"
                raise yaml.constructor.ConstructorError(
                    None, None, f"the name {name!r:.100} {wrong}", entry.start_mark
                )
            names.add(name)
        return super().construct_mapping(node, deep)


def _check_finite(name, value):
    """No NaN or infinity, within lists and mappings too."""
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            _check_finite(name, item)
    elif isinstance(value, float) and not math.isfinite(value):
        least = "above 0" if name in _POSITIVE else "finite"
        raise ConfigError(f"{name} must be {least}, found {value}")


_POSITIVE = ("size", "iterations", "hidden", "batch_size", "steps", "learning_rate")
_POSITIVE += ("discriminator_rate", "checkpoint_every", "validate_every")


def _number(value):
    """60 and "1e-5", which YAML takes for an integer and for a word, as the numbers they are."""
    try:
        is_number = isinstance(value, str | int) and not isinstance(value, bool)
        return float(value) if is_number else value
    except (ValueError, OverflowError):
        return value


def _check(entry, value):
    """Type and range of one setting."""
    kind = entry.type
    if entry.name == "distance" and value not in ("l1", "l2"):
        raise ConfigError(f"distance: expected l1 or l2, found {value!r}")
    if kind is int and isinstance(value, bool):
        fits = False
    elif kind == tuple[float, ...]:
        fits = isinstance(value, tuple) and all(isinstance(share, float) for share in value)
    else:
        fits = isinstance(value, kind)
    if not fits:
        raise ConfigError(f"{entry.name}: expected {kind}, found {value!r:.200}")
    _check_finite(entry.name, value)
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        if isinstance(number, int | float) and not isinstance(number, bool):
            least = "above 0" if entry.name in _POSITIVE else "at least 0"
            if number < 0 or (entry.name in _POSITIVE and number == 0):
                raise ConfigError(f"{entry.name} must be {least}, found {number}")
    if entry.name == "dropout" and value >= 1:
        raise ConfigError(f"dropout must be below 1, the part that is dropped; found {value}")
    if entry.name == "augmentation" and value:
        _check_augmentation(value)


def _check_augmentation(changes):
    from hmrlib.data.pipeline import Augmentation  # which takes Numba along

    try:
        Augmentation(**changes)
    except (TypeError, ValueError, LookupError) as error:
        raise ConfigError(f"augmentation: {error}") from error
