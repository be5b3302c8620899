"""trainer: image classifiers from one YAML file.

The environment set here must stand before the libraries that read it are imported.
"""

import os

__version__ = "0.1.0"

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # a keras.json in the home could say otherwise
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only: start-up notes drown the display
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for newer versions
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # unreadable files are reported by name instead
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # and so are unreadable videos
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**26))  # 0.2 GB: refuses bombs unopened
os.environ.setdefault("GCS_READ_CACHE_BLOCK_SIZE_MB", "0")  # gs:// fetches 64 MB for any picture
