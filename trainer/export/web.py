"""`kind: web`: a page that runs the network in the browser, from any static file server.

Of onnxruntime-web two files are enough: with one thread, WebAssembly needs neither its workers nor
the headers (cross-origin isolation) that a plain server does not send.
"""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from trainer import files, places
from trainer.config import about
from trainer.config.export import Onnx, Web
from trainer.errors import UserError
from trainer.export import client, onnx
from trainer.export.material import Material

TEMPLATES = Path(__file__).with_name("web_files")

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = (  # as npm publishes it
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
# In the package's dist/ -> in the page. Names that every server knows: not all know .mjs.
RUNTIME = {"ort.wasm.bundle.min.mjs": "ort.js", "ort-wasm-simd-threaded.wasm": "ort.wasm"}
SECONDS = 600  # for npm

_WHERE = "runtime"
_HINT = "or name a folder with the package, as in runtime: node_modules/onnxruntime-web"


def write(material: Material, spec: Web, path: Path) -> None:
    """A folder with the page, `model.onnx` (its input is uint8), `about.json` and the runtime.

    Raises: UserError if onnxruntime-web is not where the section says, or npm does not bring it.
    """
    runtime = _named(Path(spec.runtime)) if spec.runtime else _brought()
    (path / "onnxruntime").mkdir(parents=True)
    for source, name in RUNTIME.items():
        shutil.copyfile(runtime / source, path / "onnxruntime" / name)
    for template in sorted(TEMPLATES.glob("*.*")):
        shutil.copyfile(template, path / template.name)
    shutil.copyfile(client.TEMPLATES / "classifier.mjs", path / "classifier.js")
    onnx.write(material, Onnx(kind="onnx"), path / "model.onnx")
    files.write_json(path / about.FILE, material.about.model_dump(mode="json"))


def digest(archive: Path) -> str:
    """What npm calls the integrity of a file: `sha512-` and the hash in base64."""
    with archive.open("rb") as file:
        return f"sha512-{base64.b64encode(hashlib.file_digest(file, 'sha512').digest()).decode()}"


def _named(package: Path) -> Path:
    """The folder with the runtime's files in a package that the user names."""
    for folder in (package / "dist", package):
        if all((folder / name).is_file() for name in RUNTIME):
            return folder
    problem = f"{package} has no dist/{' and '.join(RUNTIME)}"
    hint = f"expected the folder of the npm package {PACKAGE}, such as node_modules/{PACKAGE}"
    raise UserError(_WHERE, problem, f"{hint}; {VERSION} was tested")


def _brought() -> Path:
    """The same in the user's cache; npm brings it the first time (33 MB)."""
    kept = places.brought(f"{PACKAGE}-{VERSION}")
    if not all((kept / name).is_file() for name in RUNTIME):
        with tempfile.TemporaryDirectory() as folder, files.replacing(kept) as partial:
            archive = _packed(Path(folder))
            partial.mkdir()
            with tarfile.open(archive) as members:
                for name in RUNTIME:
                    content = members.extractfile(f"package/dist/{name}")
                    assert content  # the archive is the one that INTEGRITY knows
                    with content, (partial / name).open("wb") as file:
                        shutil.copyfileobj(content, file)
    return kept


def _packed(folder: Path) -> Path:
    """The package's archive, as npm brings it from its cache or from the network, verified."""
    npm = shutil.which("npm")
    if npm is None:
        problem = f"the page needs {PACKAGE}, and npm, which brings it, is not installed"
        raise UserError(_WHERE, problem, f"install Node.js, {_HINT}")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--prefer-offline", "--fetch-retries=1"]
    command += ["--fetch-retry-mintimeout=1000", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise UserError(_WHERE, f"npm did not bring {PACKAGE} in {SECONDS} s", _offline()) from None
    archive = folder / f"{PACKAGE}-{VERSION}.tgz"
    if done.returncode or not archive.is_file():
        raise UserError(_WHERE, f"npm did not bring {PACKAGE}: {_said(done.stderr)}", _offline())
    received = digest(archive)
    if received != INTEGRITY:
        problem = f"{PACKAGE} {VERSION} that npm brought is another one: {received}"
        raise UserError(_WHERE, problem, f"expected {INTEGRITY}; ask who runs npm's registry here")
    return archive


def _offline() -> str:
    return f"is there a network? It is needed once; {_HINT}"


def _said(errors: str) -> str:
    """What npm says of an error: its code, such as ENOTFOUND, and the cause."""
    lines = [line.removeprefix("npm error ").strip() for line in errors.splitlines()]
    told = [line for line in lines if line and not line.startswith(("A complete log", "npm warn"))]
    return "; ".join(told[:2]) or "it said nothing"
