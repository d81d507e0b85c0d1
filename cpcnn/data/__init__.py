"""From a folder of files to batches of uint8 images: NumPy in and out, no device."""

from .array_dataset import ArrayDataset
from .augmentation.augment import Augmentation
from .augmentation.changes import Changes, Mix, Warp
from .cache import ImageCache
from .dataset import Dataset, ImageDataset
from .images.decode import IMAGE_EXTENSIONS, BadImage, Header, decode, read_header
from .images.preprocess import Preprocessing, choose_channels, choose_size, read_headers
from .images.resize import RESIZE_MODES, resize
from .layouts.folder import scan_folder
from .layouts.image_folder import ImageFolder, Sample
from .loader import Batch, Loader
from .samples import write_sample_images
from .splits.sampler import BalancedSampler
from .splits.split import fold_samples, split_samples
from .statistics import measure_statistics

__all__ = [
    "IMAGE_EXTENSIONS",
    "RESIZE_MODES",
    "ArrayDataset",
    "Augmentation",
    "BadImage",
    "BalancedSampler",
    "Batch",
    "Changes",
    "Dataset",
    "Header",
    "ImageCache",
    "ImageDataset",
    "ImageFolder",
    "Loader",
    "Mix",
    "Preprocessing",
    "Sample",
    "Warp",
    "choose_channels",
    "choose_size",
    "decode",
    "fold_samples",
    "measure_statistics",
    "read_header",
    "read_headers",
    "resize",
    "scan_folder",
    "split_samples",
    "write_sample_images",
]
