"""`trainer explain`: what a network looks at, in the pictures it is shown and in itself."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from trainer import files, places, records, terminal
from trainer import run as runs
from trainer.board import events
from trainer.commands import _opened
from trainer.commands._copies import folders, safe
from trainer.config.about import About
from trainer.data import inputs
from trainer.errors import Failed, UserError, suggestion

if TYPE_CHECKING:
    import keras

ALONE = "filters"  # the one method that needs no picture, and its file
METHODS = ("gradcam", "gradcam++", "occlusion", "features", ALONE, "highlights")
TITLES = {"gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++", "occlusion": "Occlusion"}

BATCH = 16  # pictures
MOST = 256  # pictures that highlights are looked for in: they stay in memory
SHOWN = 32  # pictures whose sheets TensorBoard gets: an event file is read as a whole
CHANNELS, PARTS = 16, 6  # of a sheet of highlights
MAPS, FILTERS = 32, 64  # of a sheet of feature maps and of filters
LARGE = 256  # pixels: smaller pictures grow by a whole factor under their heat


class Job(NamedTuple):
    """What is to be explained, and how."""

    model: "keras.Model"  # pixels -> probabilities [N, K]
    scores: Callable[[np.ndarray], np.ndarray]  # uint8 [N, H, W, C] -> [N, K]
    about: About
    methods: tuple[str, ...]
    layers: tuple[str, ...]  # full names of those that are chosen
    shown: tuple[str, ...]  # of those whose maps and highlights are drawn
    classes: tuple[int, ...]  # asked for; none: what the network says itself

    @property
    def highlights(self) -> dict[str, str]:
        """Layer -> what its sheet of highlights is called."""
        names = _named(f"highlights_{layer}" for layer in self.shown)
        return dict(zip(self.shown, names, strict=True))


class Files:
    """PNG files in a folder, some of them in TensorBoard as well; none twice."""

    def __init__(
        self, folder: Path, add: Callable[[events.Value], None], reserved: Iterable[str]
    ) -> None:
        self._folder, self._add = folder, add
        self._taken = {name.casefold() for name in reserved}

    def stem(self, name: str) -> str:
        """For the files of the picture of that name, each another one: `hand`, `hand-2`."""
        plain = safe(Path(name).stem if "://" not in name else name.rpartition("/")[2])
        return self.free(plain)

    def free(self, name: str) -> str:
        """The name, with a number if a file has it, also where case does not count."""
        names = (name if number == 1 else f"{name}-{number}" for number in count(1))
        found = next(each for each in names if each.casefold() not in self._taken)
        self._taken.add(found.casefold())
        return found

    def write(self, name: str, pixels: np.ndarray, tag: str = "") -> None:
        """uint8 RGB [H, W, 3] as `<name>.png`, and under the tag if one is given."""
        with files.replacing(self._folder / f"{name}.png") as partial:
            partial.write_bytes(events.png(pixels))
        if tag:
            self._add(events.image(tag, pixels))


def run(
    arguments: Sequence[str],
    out: Path | None,
    methods: str,
    layers: Sequence[str],
    classes: Sequence[str],
) -> None:
    """Draws a sheet for every picture, and what else the methods give.

    Args:
        arguments: `[RUN] PATH...`; the latest run if none is named. Filters alone need no path.
        out: the folder; the run's place for it if None.
        methods: of METHODS, joined by commas.
        layers: for Grad-CAM, feature maps and highlights; the last, and some, if none is named.
        classes: what the pictures are asked for; what the network says itself if none is named.

    Raises: Failed at the end if pictures could not be read.
    """
    chosen = _methods(methods)
    alone = f", or draw what needs none: --method {ALONE}"
    least = 0 if chosen == (ALONE,) else 1
    found, targets = _opened.parted(arguments, "explain", least, alone)
    if not isinstance(found, runs.Run):
        problem = "is an exported file, which does not let its layers be seen"
        raise UserError(str(found), problem, "give the folder of the run")
    names = inputs.listed(targets, limited=True)  # live ones are refused in a moment
    _demand_still(names)
    _demand_known(classes, records.read_classes(found))
    folder = out or found.explanations
    files.demand_folder(folder, "--out" if out else str(found.folder))
    job = _job(found, chosen, layers, classes)
    board = places.explanation_events(out) if out else found.explanation_events
    with events.alone(board) as add:
        reserved = (ALONE, runs.TENSORBOARD, *job.highlights.values())
        left_out = _explain(job, names, Files(folder, add, reserved))
    if left_out < len(names) or not names:
        terminal.say(f"written  {folder}")
        terminal.say(f"watch    trainer tensorboard {out or found.folder}")
    if left_out:
        raise Failed(f"{left_out} of {len(names)} pictures could not be read")


# --- is it what was meant? ----------------------------------------------------------------------


def _methods(text: str) -> tuple[str, ...]:
    wanted = [each.strip() for each in text.split(",") if each.strip()]
    for each in wanted:
        if each not in METHODS:
            raise UserError("--method", f"there is no '{each}'", suggestion(each, METHODS))
    if not wanted:
        raise UserError("--method", "no method is named", suggestion("", METHODS))
    return tuple(each for each in METHODS if each in wanted)


def _demand_still(names: Sequence[str]) -> None:
    for name in names:
        if inputs.is_video(name) or inputs.is_live([name]):
            hint = "trainer predict MODEL PATH --sort-into FOLDER makes pictures of its frames"
            raise UserError(name, "moves, but expected here are pictures", hint)


def _demand_known(classes: Sequence[str], known: Sequence[str]) -> None:
    for name in classes:
        if name not in known:
            raise UserError("--class", f"the run knows no class '{name}'", suggestion(name, known))


def _job(
    found: runs.Run, methods: tuple[str, ...], layers: Sequence[str], classes: Sequence[str]
) -> Job:
    _opened.import_tensorflow()
    from trainer.commands._about import about
    from trainer.commands._restore import restore
    from trainer.evaluation.predict import forward
    from trainer.explain import features

    trained = restore(found)
    chosen = features.layers(trained.model, layers) if layers else ()
    looks = set(methods) - {"occlusion"}
    shown = chosen or (features.layers(trained.model) if looks else ())
    network = forward(trained.model)
    return Job(
        trained.model,
        lambda images: network(images).numpy(),
        about(found, trained),
        methods,
        chosen,
        shown,
        tuple(trained.classes.index(name) for name in dict.fromkeys(classes)),
    )


# --- picture by picture -------------------------------------------------------------------------


def _explain(job: Job, names: Sequence[str], into: Files) -> int:
    """Draws everything; gives how many pictures could not be read."""
    ready = inputs.ready(inputs.pictures(names, None, None), job.about, keep=False, live=False)
    seen = 0
    kept: list[inputs.Ready] = []
    left_out: list[inputs.Unreadable] = []
    with (
        terminal.silenced(),  # libpng and libjpeg talk about broken files, and do not name them
        terminal.progress(len(names), "explaining", "pictures") as tick,
    ):
        while batch := list(islice(ready, BATCH)):
            good = [each for each in batch if isinstance(each, inputs.Ready)]
            left_out += [each for each in batch if isinstance(each, inputs.Unreadable)]
            for picture, pages in zip(good, _pages(job, good), strict=True):
                _write(job, picture, pages, into, seen < SHOWN)
                seen += 1
                tick(seen + len(left_out), picture.name)
            kept += good[: MOST - len(kept)]
        if len(left_out) < len(names) or not names:
            _network(job, kept, into)
    for bad in left_out:
        terminal.warn(f"{bad.name} is left out: {bad.reason}")
    return len(left_out)


class Page(NamedTuple):
    """What the methods say of a picture: for every label that is asked for, by title and file."""

    scores_K: np.ndarray
    heats: dict[int, list[tuple[str, str, np.ndarray]]]


def _pages(job: Job, pictures: Sequence[inputs.Ready]) -> list[Page]:
    if not pictures:
        return []
    images = np.stack([each.image for each in pictures])
    scores_NK = job.scores(images)
    pages = [
        Page(scores_K, {label: [] for label in _asked(job, scores_K)}) for scores_K in scores_NK
    ]
    pairs = [(at, label) for at, page in enumerate(pages) for label in page.heats]
    rows, labels = np.array(pairs).T
    for title, file, heats in _heats(job, images[rows], labels):
        for (at, label), heat in zip(pairs, heats, strict=True):
            pages[at].heats[label].append((title, file, heat))
    return pages


def _asked(job: Job, scores_K: np.ndarray) -> tuple[int, ...]:
    """The labels to be explained: those of the command, else those that hold, the most probable one
    where none does."""
    if job.classes:
        return job.classes
    holding = job.about.verdict(scores_K.tolist()).labels
    return tuple(map(job.about.labels.index, holding)) or (int(scores_K.argmax()),)


def _heats(
    job: Job, images: np.ndarray, labels: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Title, name for a file, and heat [N, h, w] of each method; Grad-CAM of each chosen layer."""
    from trainer.explain import gradcam, occlusion

    for method in job.methods:
        if method in ("gradcam", "gradcam++"):
            for layer in job.layers or (None,):
                found = gradcam.heat(job.model, images, labels, layer, plus=method == "gradcam++")
                title = f"{TITLES[method]} {layer or ''}".rstrip()
                yield title, f"{method}_{layer}" if layer else method, found
        elif method == "occlusion":
            yield TITLES[method], method, occlusion.heat(job.model, images, labels)


def _write(job: Job, picture: inputs.Ready, page: Page, into: Files, event: bool) -> None:
    from trainer.explain import overlay
    from trainer.plots import explanation, style
    from trainer.plots.explanation import Asked, Panel

    stem = into.stem(picture.name)
    image = _grown(picture.image)
    asked = []
    for label, heats in page.heats.items():
        panels = [Panel(title, heat, overlay.overlaid(image, heat)) for title, _, heat in heats]
        asked.append(Asked(label, panels))
        for (_, file, _), panel in zip(heats, panels, strict=True):
            name = _named(f"{file}_{each}" for each in job.about.labels)[label]
            into.write(into.free(f"{stem}/{name}"), panel.overlay)
    if any(page.heats.values()):
        sheet = explanation.draw(picture.name, image, job.about.labels, page.scores_K, asked)
        into.write(stem, style.pixels(sheet), f"pictures/{stem}" * event)
    if "features" in job.methods:
        names = _named(f"features_{layer}" for layer in job.shown)
        for layer, drawn in _feature_sheets(job, picture):
            into.write(into.free(f"{stem}/{names[job.shown.index(layer)]}"), drawn)


def _named(texts: Iterable[str]) -> list[str]:
    """Names of files for them, in order, different for different ones: the same for all pictures,
    whichever of the labels they have."""
    names = folders(every := list(texts))
    return [names[each] for each in every]


def _feature_sheets(job: Job, picture: inputs.Ready) -> Iterator[tuple[str, np.ndarray]]:
    from trainer.explain import features
    from trainer.plots import style, tiles
    from trainer.plots.explanation import short

    found = features.maps(job.model, picture.image[None], job.shown)
    for layer, maps_NhwC in found.items():
        maps_hwC = np.maximum(maps_NhwC[0], 0)
        height, width, channels = maps_hwC.shape
        chosen = features.strongest(maps_hwC, MAPS)
        most = maps_hwC.max(axis=(0, 1))
        note = f"{len(chosen)} of {channels} channels, {height} × {width}, and what is brightest"
        title = f"{layer} on {short(picture.name)}"
        shown = [maps_hwC[..., each] / (most[each] or 1) for each in chosen]
        captions = [f"{each}: {most[each]:.3g}" for each in chosen]
        yield layer, style.pixels(tiles.draw(title, note, shown, captions, columns=8))


# --- what needs no picture, or all of them ------------------------------------------------------


def _network(job: Job, pictures: Sequence[inputs.Ready], into: Files) -> None:
    from trainer.plots import style, tiles

    if ALONE in job.methods:
        from trainer.explain import filters

        found = filters.first(job.model)
        shown = list(found.pictures[:FILTERS])
        note = f"{len(shown)} of {len(found.pictures)} filters, in the colours they look for"
        sheet = tiles.draw(
            f"first layer: {found.layer}", note, shown, list(map(str, range(len(shown)))), columns=8
        )
        into.write(ALONE, style.pixels(sheet), f"network/{ALONE}")
    if "highlights" in job.methods and pictures:
        for layer, name in job.highlights.items():
            drawn = _highlight_sheet(job, layer, pictures)
            if drawn is not None:
                into.write(name, drawn, f"network/{name}")


def _highlight_sheet(job: Job, layer: str, pictures: Sequence[inputs.Ready]) -> np.ndarray | None:
    """None for a layer that answers to none of the pictures."""
    from trainer.explain import highlights
    from trainer.plots import style, tiles

    images = np.stack([each.image for each in pictures])
    found = highlights.regions(job.model, images, layer, CHANNELS, PARTS)
    if not found:
        return None
    height, width = found[0].parts[0].shape[:2]
    blank = np.full_like(found[0].parts[0], 255)
    parts, captions = [], []
    for each in found:
        missing = PARTS - len(each.parts)
        parts += [*each.parts, *[blank] * missing]
        first, *others = (f"{answer:.3g}" for answer in each.answers)
        captions += [f"channel {each.channel}: {first}", *others, *[""] * missing]
    title = f"what {layer} answers to"
    note = f"{len(found)} channels; parts of {height} × {width} pixels of {len(images)} pictures"
    return style.pixels(tiles.draw(title, note, parts, captions, 2 * PARTS, group=PARTS))


def _grown(image: np.ndarray) -> np.ndarray:
    factor = max(1, LARGE // max(image.shape[:2]))
    size = factor * image.shape[1], factor * image.shape[0]
    grown = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)
    return grown.reshape(*grown.shape[:2], image.shape[2])  # OpenCV drops a single channel
