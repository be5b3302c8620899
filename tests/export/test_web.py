"""The page for browsers: what lies in its folder, where its runtime comes from, and what it shows."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from tests import browser, families
from tests.conftest import SMALL, draw_pictures
from trainer.config.about import About
from trainer.config.export import Web
from trainer.errors import UserError
from trainer.export import client, web
from trainer.runtimes import opened

ABOUT = About(name="hands", task="single_label", labels=("a", "b", "c"), image_size=(12, 10))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Looks like onnxruntime-web."""
    dist = tmp_path / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)
    for name in web.RUNTIME:
        (dist / name).write_text(f"content of {name}")
    return dist.parent


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [keras.Input((12, 10, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(3, activation="softmax")])


def test_the_folder(package: Path, tmp_path: Path) -> None:
    spec = Web(kind="web", runtime=str(package))
    path = families.exporter(spec, network(), ABOUT, tmp_path)
    assert path.name == "web"
    assert opened.kind_of(path) == "web"
    assert {str(each.relative_to(path)) for each in path.rglob("*") if each.is_file()} == {
        "index.html", "app.js", "classifier.js", "style.css", "model.onnx", "about.json",
        "LICENSES.txt", "onnxruntime/ort.js", "onnxruntime/ort.wasm",
    }  # fmt: skip
    assert json.loads((path / "about.json").read_text()) == ABOUT.model_dump(mode="json")
    shared = (client.TEMPLATES / "classifier.mjs").read_text()
    assert (path / "classifier.js").read_text() == shared
    assert (path / "onnxruntime/ort.js").read_text() == "content of ort.wasm.bundle.min.mjs"


def test_the_page_asks_no_other_server() -> None:
    """And takes nothing from one: the policy in its head would refuse that."""
    named = set()
    for path in [*web.TEMPLATES.glob("*.*"), client.TEMPLATES / "classifier.mjs"]:
        if path.name != "LICENSES.txt":
            named |= set(re.findall(r"(?:https?:)?//[\w.:-]+\.?\w+", path.read_text()))
    assert {each for each in named if ":" in each} == {"http://localhost:8000", "http://localhost"}
    assert "default-src 'self'" in (web.TEMPLATES / "index.html").read_text()


def test_the_licence_is_that_of_the_version() -> None:
    assert f"onnxruntime-web {web.VERSION}" in (web.TEMPLATES / "LICENSES.txt").read_text()
    wanted = json.loads((client.TEMPLATES / "package.json").read_text())["dependencies"]
    assert wanted == {"onnxruntime-web": web.VERSION}


# --- where the runtime comes from ---------------------------------------------------------------


def refused(tmp_path: Path, runtime: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        families.exporter(Web(kind="web", runtime=runtime), network(), ABOUT, tmp_path)
    return str(caught.value)


def script(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """An `npm` that does this, and nothing else in the path but what it needs."""
    place = folder / "bin"
    place.mkdir()
    (place / "npm").write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    (place / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")


def test_a_named_folder_must_hold_it(tmp_path: Path) -> None:
    assert refused(tmp_path, "nowhere/onnxruntime-web") == (
        "runtime: nowhere/onnxruntime-web has no dist/ort.wasm.bundle.min.mjs and"
        " ort-wasm-simd-threaded.wasm\n"
        "  expected the folder of the npm package onnxruntime-web, such as"
        " node_modules/onnxruntime-web; 1.30.0 was tested"
    )


def test_without_npm(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(workplace))
    assert refused(workplace) == (
        "runtime: the page needs onnxruntime-web, and npm, which brings it, is not installed\n"
        "  install Node.js, or name a folder with the package, as in"
        " runtime: node_modules/onnxruntime-web"
    )


def test_without_a_network(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ["npm warn Unknown user config", "npm error code ENOTFOUND"]
    said += ["npm error network request failed, reason: getaddrinfo ENOTFOUND"]
    script(workplace, monkeypatch, *(f"echo '{line}' >&2" for line in said), "exit 1")
    assert refused(workplace) == (
        "runtime: npm did not bring onnxruntime-web: code ENOTFOUND;"
        " network request failed, reason: getaddrinfo ENOTFOUND\n"
        "  is there a network? It is needed once; or name a folder with the package, as in"
        " runtime: node_modules/onnxruntime-web"
    )


def test_another_package_under_its_name(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(workplace, monkeypatch, f"echo other > onnxruntime-web-{web.VERSION}.tgz")
    text = refused(workplace)
    assert text.startswith(
        "runtime: onnxruntime-web 1.30.0 that npm brought is another one: sha512-"
    )
    assert "\n  expected sha512-q0y+JrrtukXSzsBWEMcc" in text


def test_npm_is_asked_once(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it brought is kept in the cache; only what the page needs."""
    archive = workplace / "given.tgz"
    with tarfile.open(archive, "w:gz") as members:
        for name in (*web.RUNTIME, "ort.all.mjs"):
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            members.addfile(member, io.BytesIO(name.encode()))
    asked = 'case "$*" in "pack onnxruntime-web@1.30.0 "*) ;; *) exit 3;; esac'
    script(
        workplace,
        monkeypatch,
        asked,
        f"cp {archive} onnxruntime-web-{web.VERSION}.tgz",
        f"echo asked >> {workplace / 'asked'}",
    )
    digest = web.digest(archive)
    monkeypatch.setattr(web, "INTEGRITY", digest)
    for folder in ("first", "second"):
        (workplace / folder).mkdir()
        path = families.exporter(Web(kind="web"), network(), ABOUT, workplace / folder)
        assert (path / "onnxruntime/ort.wasm").read_text() == "ort-wasm-simd-threaded.wasm"
    assert (workplace / "asked").read_text() == "asked\n"
    kept = workplace / ".cache/keras-image-trainer/onnxruntime-web-1.30.0"
    assert {each.name for each in kept.iterdir()} == set(web.RUNTIME)


# --- in the browser -----------------------------------------------------------------------------

READY = "document.body.dataset.state === 'ready'"
BARS = "[...document.querySelectorAll('#bars li')].map((e) => [e.dataset.label, +e.dataset.probability])"
TEXT = "document.getElementById('{}').textContent"
NODE = shutil.which("node")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a network that tells three colours apart, which are called as the hands are."""
    if browser.CHROMIUM is None:
        pytest.skip("chromium is not installed")
    place = tmp_path_factory.mktemp("page")
    draw_pictures(place / "pictures", {"Paper": 8, "rock": 8, "scissors": 8}, (36, 44))
    (place / "small.yaml").write_text(SMALL)
    command(place, "fit", "small.yaml", "--set", "training.epochs=8")
    command(place, "export", "small.yaml", "--set", "export=[{kind: onnx}, {kind: web}]")
    return place / "runs/small/latest/export"


def command(place: Path, *arguments: str) -> None:
    """The command line in a process of its own; skips where npm brings nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "trainer", *arguments],
        cwd=place,
        env={**os.environ, "XDG_CACHE_HOME": str(place / ".cache")},
        capture_output=True,
        text=True,
    )
    if "npm" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr


def film(path: Path, picture: Path) -> None:
    """A camera that shows the picture: YUV4MPEG2, four times as large, for fake devices."""
    frame = cv2.resize(cv2.imread(str(picture)), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    h, w = frame.shape[:2]
    yuv = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420)
    head = f"YUV4MPEG2 W{w} H{h} F10:1 Ip A1:1 C420jpeg\n".encode()
    path.write_bytes(head + 5 * (b"FRAME\n" + yuv.tobytes()))


@pytest.mark.slow
def test_a_browser_says_what_the_file_says(page: Path, tmp_path: Path) -> None:
    golden = json.loads((page / "client/golden.json").read_text())["pictures"]
    labels = list(opened.open(page / "web").about.labels)
    with browser.served(page) as address, browser.browser(tmp_path / "profile") as tab:
        tab.open(f"{address}/web/?picture=../client/{golden[0]['picture']}")
        for each in golden:
            tab.until(READY)
            name = each["picture"]
            tab.run(f"""(async () => {{
                document.getElementById("stage").dataset.mode = "empty";
                const blob = await (await fetch("../client/{name}")).blob();
                const data = new DataTransfer();
                data.items.add(new File([blob], "{name}", {{ type: "image/png" }}));
                const drop = new DragEvent("drop", {{ dataTransfer: data, bubbles: true }});
                document.getElementById("stage").dispatchEvent(drop);
            }})()""")
            tab.until("document.getElementById('stage').dataset.mode === 'picture'")
            bars = tab.run(BARS)
            assert [label for label, _ in bars] == labels
            received = np.array([probability for _, probability in bars])
            assert np.abs(received - each["probabilities"]).max() <= 1e-4
            best = labels[int(np.argmax(each["probabilities"]))]
            assert tab.run(TEXT.format("label")) == best
            assert best in tab.run(TEXT.format("status"))
        assert tab.complaints == []
        hosts = {each for each in tab.requests if not each.startswith((address, "blob:", "data:"))}
        assert hosts == set()


@pytest.mark.slow
def test_a_picture_by_its_address_and_one_that_is_none(page: Path, tmp_path: Path) -> None:
    [first, *_] = json.loads((page / "client/golden.json").read_text())["pictures"]
    with browser.served(page) as address, browser.browser(tmp_path / "profile") as tab:
        tab.open(f"{address}/web/?picture=../client/{first['picture']}")
        tab.until("document.getElementById('stage').dataset.mode === 'picture'")
        received = np.array([probability for _, probability in tab.run(BARS)])
        assert np.abs(received - first["probabilities"]).max() <= 1e-4
        assert tab.complaints == []
        tab.open(f"{address}/web/?picture=about.json")
        tab.until("!document.getElementById('problem').hidden")
        said = "about.json is no picture that this browser can open."
        assert tab.run(TEXT.format("problem")) == said
        tab.open(f"{address}/web/?picture=gone.png")
        tab.until("!document.getElementById('problem').hidden")
        said = "The picture could not be loaded: gone.png is not there (404)"
        assert tab.run(TEXT.format("problem")) == said


@pytest.mark.slow
def test_the_camera_and_the_game(page: Path, tmp_path: Path) -> None:
    golden = json.loads((page / "client/golden.json").read_text())["pictures"]
    film(tmp_path / "hand.y4m", page / "client" / golden[-1]["picture"])
    options = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    options += [f"--use-file-for-fake-video-capture={tmp_path / 'hand.y4m'}"]
    with browser.served(page) as address, browser.browser(tmp_path / "profile", *options) as tab:
        tab.open(f"{address}/web/")
        tab.until(READY)
        tab.run("document.getElementById('camera').click()")
        tab.until("document.getElementById('stage').dataset.mode === 'camera'")
        label = tab.until("document.querySelector('#bars .holds')?.textContent")
        assert label == "scissors"
        assert sum(probability for _, probability in tab.run(BARS)) == pytest.approx(1, abs=1e-3)
        tab.until(f"{TEXT.format('status')} === 'scissors'")  # once it stays

        for kind in ("keyDown", "keyUp"):
            tab.call("Input.dispatchKeyEvent", type=kind, key=" ", code="Space", text=" ")
        tab.until(f"{TEXT.format('countdown')} === '3'")
        tab.until("!document.getElementById('play').disabled")
        said = tab.run(TEXT.format("status"))
        outcomes = {
            "rock": "Rock blunts scissors: you lose. 0 to 1.",
            "paper": "Scissors cut paper: you win! 1 to 0.",
            "scissors": "Both scissors: a draw. 0 to 0.",
        }
        expected = {
            f"You: scissors. Computer: {theirs}. {text}" for theirs, text in outcomes.items()
        }
        assert said in expected
        tab.run("document.getElementById('camera').click()")
        assert tab.run("document.getElementById('stage').dataset.mode") == "empty"
        assert tab.complaints == []


@pytest.mark.slow
def test_what_stands_in_the_way_is_said(page: Path, tmp_path: Path) -> None:
    with browser.served(page) as address, browser.browser(tmp_path / "profile") as tab:
        tab.open(f"{address}/web/?camera")
        tab.until("!document.getElementById('problem').hidden")
        assert "camera" in tab.run(TEXT.format("problem"))
        tab.open(f"file://{page / 'web/index.html'}")
        tab.until("getComputedStyle(document.getElementById('notice')).visibility === 'visible'")
        assert "python -m http.server 8000" in tab.run("document.body.innerText")
        assert tab.run("document.getElementById('main').hidden")


@pytest.mark.slow
def test_javascript_by_the_runtime_of_the_page(page: Path) -> None:
    """The client of Node, with onnxruntime-web as npm installs it."""
    from tests.export.test_client import node

    if NODE is None:
        pytest.skip("node is not installed")
    place = page / "client" / "node_modules" / "onnxruntime-web"
    place.mkdir(parents=True)
    with tarfile.open(web._packed(place)) as archive:
        wanted = ["package.json", *(f"dist/{name}" for name in web.RUNTIME)]
        for name in [*wanted, "dist/ort-wasm-simd-threaded.mjs"]:
            content = archive.extractfile(f"package/{name}")
            assert content
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_bytes(content.read())
    done = node(page / "client" / "client.mjs", "--check", cwd=page)
    assert (done.returncode, done.stdout.count("pixels differ by 0")) == (0, 6), done.stderr[-2000:]
