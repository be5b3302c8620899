"""`kind: keras`: the network as Keras saves it, with what it says of itself in the same archive."""

import zipfile
from pathlib import Path

from trainer.config import about
from trainer.config.export import Keras
from trainer.export.material import Material


def write(material: Material, spec: Keras, path: Path) -> None:
    """Input float32 [N, H, W, C], 0 to 255; output the probabilities, float32 [N, K].

    What the file says of itself is a further member `about.json` of the archive, which Keras
    ignores. Layers of one's own are in it by name alone: it is then no use to `trainer`.
    """
    material.model.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(about.FILE, material.about.model_dump_json(indent=2))
