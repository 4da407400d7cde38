"""All settings of a training, in one frozen dataclass; YAML in and out."""

import dataclasses
from dataclasses import dataclass, field

import yaml

from hmrlib.io import atomic_write
from hmrlib.io.settings import ConfigError, above_0, one_of, read_yaml
from hmrlib.network.config import NetworkConfig

# how long and how often; all else must be the same for a training to go on from a checkpoint (the
# number of steps, too, where the learning rates follow it)
MAY_CHANGE = ("steps", "checkpoint_every", "validate_every", "patience", "overlays")


@dataclass(frozen=True)
class TrainConfig(NetworkConfig):
    """The network's settings and the training's, HMR's own as defaults.

    Attributes:
        encoder_weights: see `hmrlib.network.encoder.build_encoder`.
        start_from: a trained network whose weights are the first ones, instead of the encoder's
            alone: "shipped" is the package's, else what `load_model` takes. `size`, `dropout`,
            `freeze_norm` and `compute` may be others than that network's; where the regressor or
            the maps are, only the encoder that both share is taken.
        freeze_encoder: learn the regressor alone; the encoder stays as its first weights are.
        reprojection, maps, joints_3d, smpl, limits, adversarial, weight_decay: weights of the
            losses, see `hmrlib.training.losses`; 0 leaves one out.
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
            machines: see `hmrlib.training.distribution.distribute`.
    """

    encoder_weights: str | None = "imagenet"
    start_from: str | None = None
    freeze_encoder: bool = False
    reprojection: float = 60.0
    maps: float = 60.0
    joints_3d: float = 60.0
    smpl: float = 60.0
    limits: float = 0.0
    adversarial: float = 1.0
    weight_decay: float = 1e-4
    distance: str = one_of("l2", "l1")
    pseudo_3d: bool = False
    batch_size: int = above_0(64)
    steps: int = above_0(100_000)
    learning_rate: float = above_0(1e-5)
    discriminator_rate: float = above_0(1e-4)
    regressor_rate: float | None = None
    warmup: int = 0
    cosine: bool = False
    clip_norm: float | None = None
    augmentation: dict | None = field(default_factory=dict)
    shares: tuple[float, ...] = ()
    poses: str | None = "prior"
    seed: int = 0
    checkpoint_every: int = above_0(1000)
    validate_every: int = above_0(1000)
    patience: int = 0
    overlays: int = 4
    devices: int = 1

    def __post_init__(self):
        super().__post_init__()
        if self.augmentation:
            _check_augmentation(self.augmentation)

    @property
    def network(self):
        """The settings of the network alone."""
        names = [entry.name for entry in dataclasses.fields(NetworkConfig)]
        return NetworkConfig(**{name: getattr(self, name) for name in names})

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
    known = [entry.name for entry in dataclasses.fields(TrainConfig)]
    if unknown := sorted(settings.keys() - set(known)):
        raise ConfigError(f"unknown settings {', '.join(unknown)}; known are {', '.join(known)}")
    return TrainConfig(**settings)


def _check_augmentation(changes):
    from hmrlib.data.pipeline import Augmentation  # which takes Numba along

    try:
        Augmentation(**changes)
    except (TypeError, ValueError, LookupError) as error:
        raise ConfigError(f"augmentation: {error}") from error
