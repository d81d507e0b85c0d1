"""From a folder of files to batches of uint8 images: NumPy in and out, no device."""

from .array_dataset import ArrayDataset
from .augment import Augmentation
from .cache import ImageCache
from .changes import Changes, Mix, Warp
from .dataset import Dataset, ImageDataset
from .decode import IMAGE_EXTENSIONS, BadImage, Header, decode, read_header
from .folder import scan_folder
from .image_folder import ImageFolder, Sample
from .loader import Batch, Loader
from .preprocess import Preprocessing, choose_channels, choose_size, read_headers
from .resize import RESIZE_MODES, resize
from .sampler import BalancedSampler
from .samples import write_sample_images
from .split import fold_samples, split_samples
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
