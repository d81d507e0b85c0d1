"""The settings of a training run: the default recipe, and what each of them may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.options import Bounds
from . import augment_presets
from .setting_types import wrong_type

# written out, as the help of a command needs them and shall not load NumPy
OPTIMIZERS = ("adamw", "adam", "nadam", "sgd", "rmsprop", "lamb")
SCHEDULES = (
    "one-cycle",
    "cosine",
    "cosine-restarts",
    "polynomial",
    "exponential",
    "step",
    "reduce-on-plateau",
    "constant",
)
MONITORS = ("accuracy", "macro-f1", "macro-recall", "loss")
BALANCED = "balanced"
SAMPLERS = ("shuffle", BALANCED)
CROSS_ENTROPY, FOCAL = "cross-entropy", "focal"
LOSSES = (CROSS_ENTROPY, FOCAL)
FOCAL_GAMMA = 2.0
MOST_FOLDS = 1000
RESIZES = ("crop", "pad", "squash")
CHANNELS = ("auto", "1", "3")
ON_ERROR = ("skip", "fail")
CACHES = ("auto", "memory", "disk", "off")
AUGMENTS = tuple(augment_presets.PRESETS)

SGD_MOMENTUM = 0.9
MOMENTUM_OPTIMIZERS = ("sgd", "rmsprop")

BATCH_SIZE = 32
LARGE_BATCH_SIZE = 64
LARGE_DATA = 10_000  # from this many training images on, larger batches cost no accuracy

LEARNING_RATE = 2e-3
LARGE_BATCH_LEARNING_RATE = 4e-3  # large batches take fewer steps, so longer ones

SMALLEST_SIDE, LARGEST_SIDE = 8, 4096
LARGEST_WHOLE = 2**63 - 1  # files may hold any


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides a training run; the defaults are the default recipe.

    A value that cannot be meant raises UsageError: the option, the value and what is allowed.
    """

    data: Path
    model: str = "resnet9"
    width: float = 1.0
    epochs: int = 20
    batch_size: int | Literal["auto"] = "auto"
    optimizer: str = "adamw"
    momentum: float | None = None
    lr: float | Literal["auto"] = "auto"
    schedule: str = "one-cycle"
    warmup_epochs: float = 0.0
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    class_weights: str | None = None
    sampler: str = "shuffle"
    loss: str = CROSS_ENTROPY
    focal_gamma: float | None = None
    ema: float | None = None
    accumulate: int = 1
    clip_norm: float | None = None
    monitor: str = "accuracy"
    patience: int | None = None
    weights: Path | None = None
    freeze: tuple[str, ...] = ()
    img_size: int | None = None
    channels: str = "auto"
    resize: str = "squash"
    augment: str = augment_presets.DEFAULT
    flip: bool | None = None  # this and what follows: None leaves it to the preset
    vertical_flip: bool | None = None
    shift: float | None = None
    rotation: float | None = None
    shear_range: float | None = None
    zoom_range: float | None = None
    random_crop: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = None
    hue: float | None = None
    rand_augment: int | None = None
    rand_augment_steps: int | None = None
    trivial_augment: bool | None = None
    erasing: float | None = None
    mixup: float | None = None
    cutmix: float | None = None
    limit: int | None = None
    val_fraction: float = 0.2
    group_by: str | None = None
    folds: int | None = None
    fold: int | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    seed: int = 0
    cache: str = "auto"
    workers: int = 2
    threads: int | None = None
    device: str = "auto"
    exact: bool = False
    on_error: str = "skip"
    allow_empty_classes: bool = False
    allow_nested: bool = False
    output: Path | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", str(self.channels))
        for name in ("freeze", "include", "exclude"):
            object.__setattr__(self, name, _as_patterns(getattr(self, name)))
        if wrong := wrong_type(self):
            name, value, meaning = wrong
            raise UsageError(f"{option(name)} is {value!r}; it must be {meaning}.")
        for name in ("data", "weights", "output"):
            path = getattr(self, name)
            object.__setattr__(self, name, None if path is None else Path(path))
        self._check_names()
        self._check_numbers()
        self._check_augmentation()
        self._check_together()

    def _check_names(self) -> None:
        try:
            str(self.data).encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"The name of the data folder, {str(self.data)!a}, is not UTF-8.",
                suggestion="Rename it, or go through a link with another name.",
            ) from None
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("schedule", self.schedule, SCHEDULES)
        one_of("resize", self.resize, RESIZES)
        one_of("channels", self.channels, CHANNELS)
        one_of("on_error", self.on_error, ON_ERROR)
        one_of("cache", self.cache, CACHES)
        one_of("monitor", self.monitor, MONITORS)
        one_of("sampler", self.sampler, SAMPLERS)
        one_of("loss", self.loss, LOSSES)
        one_of("augment", self.augment, AUGMENTS)
        if self.output is not None and self.name is not None:
            raise UsageError(
                "--output and --name both say where the run goes.",
                suggestion="Give --name for a folder in runs/, or --output for any other.",
            )
        if self.name is not None and (
            self.name in ("", ".", "..") or set(self.name) & set("/\\\0")
        ):
            raise UsageError(
                f"--name is {self.name!r}, which is not the name of a folder.",
                suggestion="Give a plain name, or a path with --output.",
            )

    def _check_numbers(self) -> None:
        whole("epochs", self.epochs, 1)
        if self.batch_size != "auto":
            whole("batch_size", self.batch_size, 1, note=", or auto")
        if self.img_size is not None:
            whole("img_size", self.img_size, SMALLEST_SIDE, LARGEST_SIDE)
        whole("seed", self.seed, 0, LARGEST_WHOLE)
        whole("workers", self.workers, 0, 256)
        if self.threads is not None:
            whole("threads", self.threads, 1, 1024)
        if self.lr != "auto":
            number("lr", self.lr, above=0, note=", or auto")
        number("width", self.width, above=0, most=16)
        number("weight_decay", self.weight_decay, least=0)
        number("label_smoothing", self.label_smoothing, least=0, below=1)
        number("val_fraction", self.val_fraction, above=0, below=1)
        number("warmup_epochs", self.warmup_epochs, least=0)
        whole("accumulate", self.accumulate, 1)
        if self.momentum is not None:
            number("momentum", self.momentum, least=0, below=1)
        if self.ema is not None:
            number("ema", self.ema, above=0, below=1)
        if self.clip_norm is not None:
            number("clip_norm", self.clip_norm, above=0)
        if self.patience is not None:
            whole("patience", self.patience, 1)
        if self.limit is not None:
            whole("limit", self.limit, 2)
        if self.focal_gamma is not None:
            number("focal_gamma", self.focal_gamma, least=0)
        if self.folds is not None:
            whole("folds", self.folds, 2, MOST_FOLDS)
        if self.fold is not None:
            whole("fold", self.fold, 1, self.folds or MOST_FOLDS)

    def _check_augmentation(self) -> None:
        for name, bounds in augment_presets.NUMBERS.items():
            if (value := getattr(self, name)) is not None:
                number(name, value, **bounds)
        for name, (least, most) in augment_presets.WHOLES.items():
            if (value := getattr(self, name)) is not None:
                whole(name, value, least, most)
        for name in augment_presets.ALPHAS:
            if (value := getattr(self, name)) not in (None, 0):
                number(name, value, **augment_presets.ALPHA, note=", or 0")
        augment_presets.check_policies(self)

    def _check_together(self) -> None:
        if self.momentum is not None and self.optimizer not in MOMENTUM_OPTIMIZERS:
            raise UsageError(
                f"--momentum goes with {' and '.join(MOMENTUM_OPTIMIZERS)}; "
                f"{self.optimizer} has none."
            )
        if self.warmup_epochs >= self.epochs:
            raise UsageError(
                f"--warmup-epochs is {self.warmup_epochs:g}; it must be below --epochs, "
                f"which is {self.epochs}."
            )
        if self.fold is not None and self.folds is None:
            raise UsageError(
                f"--fold is {self.fold}, but of how many?",
                suggestion=f"Give --folds as well: --folds 5 --fold {self.fold}.",
            )
        if self.focal_gamma is not None and self.loss != FOCAL:
            raise UsageError(
                f"--focal-gamma goes with --loss {FOCAL}; {self.loss} has none.",
                suggestion=f"Give --loss {FOCAL} as well, or leave it out.",
            )
        if self.sampler == BALANCED == self.class_weights:
            raise UsageError(
                "--sampler balanced and --class-weights balanced even the classes out twice: small "
                "ones would count most.",
                suggestion="Give one of them: the sampler repeats images of small classes, weights "
                "let them count more.",
            )

    def batch_size_for(self, images: int) -> int:
        """Return the batch size for a training set of so many images."""
        if self.batch_size == "auto":
            return LARGE_BATCH_SIZE if images >= LARGE_DATA else BATCH_SIZE
        return self.batch_size

    def lr_for(self, batch_size: int) -> float:
        """Return the highest learning rate for batches of so many images."""
        if self.lr == "auto":
            return LARGE_BATCH_LEARNING_RATE if batch_size >= LARGE_BATCH_SIZE else LEARNING_RATE
        return self.lr

    def to_config(self) -> dict[str, Any]:
        """Return the settings as plain values; where the run goes is not part of what it does."""
        config = {k: v for k, v in asdict(self).items() if v is not None}
        config.pop("output", None)
        config.pop("name", None)
        config["freeze"] = list(self.freeze)
        for name in ("include", "exclude"):
            if patterns := config.pop(name):
                config[name] = list(patterns)
        config["data"] = str(self.data.absolute())
        if self.weights is not None:
            config["weights"] = str(self.weights.absolute())
        if self.class_weights not in (None, BALANCED):
            config["class_weights"] = str(Path(str(self.class_weights)).absolute())
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TrainSettings:
        """Return the settings that `to_config` wrote; UsageError for a name that is no setting."""
        known = [field.name for field in fields(cls)]
        for name in config:
            if name not in known:
                raise UsageError(
                    f"There is no setting {name!r}.", suggestion=did_you_mean(name, known)
                )
        return cls(**config)


def _as_patterns(value: Any) -> Any:
    """Return one pattern, or a list of them as a file has it, as a tuple."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def option(name: str) -> str:
    """Return how the command line spells a setting."""
    return "--" + name.replace("_", "-")


def did_you_mean(word: str, choices: Sequence[str]) -> str:
    """Return the nearest of the choices as a question, or all of them when nothing is near."""
    close = get_close_matches(word, choices, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Choose from {', '.join(choices)}."


def one_of(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise UsageError unless the value of the option is one of the choices."""
    if value not in choices:
        raise UsageError(
            f"{option(name)} is {value!r}; it must be one of {', '.join(choices)}.",
            suggestion=did_you_mean(str(value), choices)
            if get_close_matches(str(value), choices)
            else "",
        )


def whole(name: str, value: object, least: int, most: int | None = None, *, note: str = "") -> None:
    """Raise UsageError unless the value of the option is an integer in the closed range."""
    fits = isinstance(value, int) and not isinstance(value, bool)
    top = LARGEST_WHOLE if most is None else most
    if fits and least <= value <= top:  # type: ignore[operator]
        return
    allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise UsageError(f"{option(name)} is {value!r}; it must be a whole number {allowed}{note}.")


def number(
    name: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    note: str = "",
) -> None:
    """Raise UsageError unless the value of the option is a finite number within the bounds."""
    bounds = Bounds(least, above, most, below)
    if not bounds.hold(value):
        raise UsageError(f"{option(name)} is {value!r}; it must be a number {bounds}{note}.")
