"""The network's settings, written once: `HMR`, a training and their files take them from here."""

from dataclasses import dataclass, field

from hmrlib.io.settings import above_0, check_settings, one_of


@dataclass(frozen=True)
class NetworkConfig:
    """What an `HMR` is built from; the paper's settings as defaults.

    Attributes:
        encoder: its name, see `hmrlib.network.encoder.build_encoder`.
        size: side of the images it takes, pixels.
        rotation: "axis_angle" (HMR), or "6d" (Zhou et al. 2019: free of jumps; D = 157).
        iterations: how often the regressor corrects its guess.
        hidden, dropout: units of its two hidden layers, and the part of them dropped in training.
        train_mean: learn the mean Theta that the iterations begin from, too.
        box_input: give the regressor where the crop lies in the full image (CLIFF, Li et al. 2022).
        freeze_norm: keep the encoder's batch statistics as they came; for small batches.
        compute: "float32", or "mixed_bfloat16" for the encoder; all else stays in float32.
        keypoint_maps: find each keypoint in the picture first, see `hmrlib.network.keypoint_maps`;
            each iteration then also sees how far off its guess' keypoints are. Not in the paper.

    Raises:
        hmrlib.io.settings.ConfigError: a value of another type, or out of its range.
    """

    encoder: str = "ResNet50V2"
    size: int = above_0(224)
    rotation: str = one_of("axis_angle", "6d")
    iterations: int = above_0(3)
    hidden: int = above_0(1024)
    dropout: float = field(default=0.5, metadata={"below": 1.0})
    train_mean: bool = False
    box_input: bool = False
    freeze_norm: bool = False
    compute: str = one_of("float32", "mixed_bfloat16")
    keypoint_maps: bool = False

    def __post_init__(self):
        check_settings(self)
