// The page: a picture or the camera goes in, bars come out; and, for the three hands, a game.
// Opened as ?picture=ADDRESS it begins with that picture, as ?camera with the camera.
import * as ort from "./onnxruntime/ort.js";
import { classify, holding, withoutAlpha } from "./classifier.js";

const PIXELS = 16e6;  // the largest canvas that phones allow
const PAUSE = 100;  // milliseconds from one look at the camera to the next
const SURE = 0.5;  // below this no hand is read in the game
const BEATS = { rock: "scissors", paper: "rock", scissors: "paper" };
const WORDS = { rock: "Rock blunts scissors", paper: "Paper wraps rock", scissors: "Scissors cut paper" };
const ICONS = {
  rock: '<path d="M3 16l2-7 5-4 7 1 4 6-2 6-6 2-7-1z"/><path d="M5 9l6 3 6-6M11 12l2 8"/>',
  paper: '<path d="M5 4l11-1 3 17-11 1z"/><path d="M9 8l5-.5M9.6 12l5.4-.5M10.2 16l3-.3"/>',
  scissors: '<circle cx="7" cy="18" r="3"/><circle cx="17" cy="18" r="3"/><path d="M8.5 15.4L15 3M15.5 15.4L9 3"/>',
};

const $ = (id) => document.getElementById(id);
const sleep = (time) => new Promise((done) => setTimeout(done, time));
const percent = (share) => share.toLocaleString("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const canvas = document.createElement("canvas");
const context = canvas.getContext("2d", { willReadFrequently: true });

let about, session;
let stream = null, facing = "user";  // of the camera
let latest = 0;  // number of the last picture asked for: answers to older ones come too late
let collecting = null;  // where the game gathers what the camera says

// --- the network ---------------------------------------------------------------------------------

async function start() {
  $("notice").remove();
  $("main").hidden = false;
  try {
    about = await (await fetched("about.json")).json();
    introduce();
    ort.env.wasm.numThreads = 1;  // more would take headers that a plain server does not send
    const [program, network] = await downloaded(["onnxruntime/ort.wasm", "model.onnx"]);
    ort.env.wasm.wasmBinary = program;
    session = await ort.InferenceSession.create(network, { executionProviders: ["wasm"] });
  } catch (error) {
    $("loading-text").textContent = `The network could not be loaded: ${error.message}`;
    $("progress").hidden = true;
    return;
  }
  $("loading").hidden = true;
  for (const id of ["verdict", "bars"]) $(id).hidden = false;
  for (const id of ["file", "camera", "play"]) $(id).disabled = false;
  document.body.dataset.state = "ready";
  const asked = new URLSearchParams(location.search);
  if (asked.has("picture")) await showAddress(asked.get("picture"));
  else if (asked.has("camera")) await startCamera();
}

async function fetched(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} is not there (${response.status})`);
  return response;
}

/** The bytes of all, with progress. */
async function downloaded(names) {
  const responses = await Promise.all(names.map(fetched));
  const total = responses.reduce((sum, each) => sum + Number(each.headers.get("content-length")), 0);
  let arrived = 0;
  $("loading-text").textContent = total
    ? `Loading the network, ${(total / 1e6).toFixed(1)} MB…` : "Loading the network…";
  return Promise.all(responses.map(async (response) => {
    const parts = [];
    for (const reader = response.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      arrived += value.length;
      if (total) $("progress").value = arrived / total;  // a compressed answer is more than it says
    }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  }));
}

/** What stands in about.json. */
function introduce() {
  const title = plays() ? "Rock, paper, scissors" : about.name.replaceAll("_", " ");
  $("name").textContent = document.title = title.charAt(0).toUpperCase() + title.slice(1);
  $("game").hidden = !plays();
  const [height, width] = about.image_size;
  const facts = {
    Classes: about.labels.length > 20 ? String(about.labels.length) : about.labels.join(", "),
    Sees: `${width} × ${height} pixels in ${about.channels === 1 ? "grey" : "colour"}, ${{
      stretch: "stretched to that shape", crop: "the middle of the picture", pad: "with black borders" }[about.fit]}`,
    ...Object.fromEntries(Object.entries(about.metrics).map(([name, value]) =>
      [`Test ${name.replaceAll("_", " ")}`, value.toFixed(4)])),
    Trainer: about.trainer,
    Config: about.config_sha256.slice(0, 12),
  };
  for (const [name, value] of Object.entries(facts)) {
    if (value) $("facts").append(element("dt", name), element("dd", value));
  }
  drawBars();
}

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

// --- a picture -----------------------------------------------------------------------------------

/** RGB of an image, a bitmap or the camera; very large ones are shrunk to what a canvas holds. */
function picture(source, w, h) {
  const scale = Math.min(1, Math.sqrt(PIXELS / (w * h)));
  [canvas.width, canvas.height] = [Math.round(w * scale), Math.round(h * scale)];
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return { height: canvas.height, width: canvas.width, pixels: withoutAlpha(data) };
}

async function showFile(file) {
  const number = ++latest;
  stopCamera();
  complain("");
  let bitmap;
  try {  // EXIF turns it, colour profiles do not count, as in training; but where a picture is fully
    // transparent, a canvas forgets the colour that training saw
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" });
  } catch {
    complain(`${file.name || "This"} is no picture that this browser can open.`);
    return;
  }
  const found = await classify(ort, session, picture(bitmap, bitmap.width, bitmap.height), about);
  if (number !== latest) return;
  URL.revokeObjectURL($("picture").src);
  $("picture").src = URL.createObjectURL(file);
  $("picture").alt = file.name ? `The picture ${file.name}` : "The picture";
  $("stage").dataset.mode = "picture";
  render(found);
  announce($("lead").textContent + " " + $("label").textContent);
}

async function showAddress(address) {
  try {
    const blob = await (await fetched(address)).blob();
    await showFile(new File([blob], address.split("/").pop(), { type: blob.type }));
  } catch (error) {
    complain(`The picture could not be loaded: ${error.message}`);
  }
}

// --- the camera ----------------------------------------------------------------------------------

const REFUSALS = {
  NotAllowedError: "The camera was refused. Allow it in the browser's settings for this page, then try again.",
  NotFoundError: "No camera was found. A picture works as well.",
  NotReadableError: "The camera is busy, perhaps in another program or tab. Close that, then try again.",
  OverconstrainedError: "No camera was found. A picture works as well.",
};

async function startCamera() {
  complain("");
  if (!navigator.mediaDevices) {
    complain("Browsers give the camera to pages from https:// or http://localhost only.");
    return false;
  }
  const number = ++latest;
  try {
    const video = { facingMode: facing, width: { ideal: 640 }, height: { ideal: 480 } };
    const opened = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    if (number !== latest) {
      for (const track of opened.getTracks()) track.stop();
      return false;
    }
    stream = opened;
    $("video").srcObject = stream;
    await $("video").play();
  } catch (error) {
    stopCamera();
    complain(REFUSALS[error.name] ?? `The camera could not be opened: ${error.message}`);
    return false;
  }
  const track = stream.getVideoTracks()[0];
  track.addEventListener("ended", stopCamera);
  $("video").classList.toggle("mirrored", track.getSettings().facingMode !== "environment");
  $("stage").dataset.mode = "camera";
  $("camera").textContent = "Stop camera";
  $("camera").setAttribute("aria-pressed", "true");
  const devices = await navigator.mediaDevices.enumerateDevices();
  $("turn").hidden = devices.filter((each) => each.kind === "videoinput").length < 2;
  watch(stream);
  return true;
}

function stopCamera() {
  if (!stream) return;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  $("video").srcObject = null;
  $("stage").dataset.mode = "empty";
  $("camera").textContent = "Use camera";
  $("camera").setAttribute("aria-pressed", "false");
  $("turn").hidden = true;
}

/** Looks again and again, until this camera is stopped. */
async function watch(mine) {
  const video = $("video");
  let said = "", since = 0;
  while (stream === mine) {
    const began = performance.now();
    if (!document.hidden && video.videoWidth) {
      const frame = picture(video, video.videoWidth, video.videoHeight);
      const found = await classify(ort, session, frame, about);
      if (stream !== mine) return;
      render(found);
      collecting?.push(found.probabilities);
      const label = $("label").textContent;
      if (label !== said) [said, since] = [label, began];
      else if (since && began - since > 1000) {  // a second of the same is worth a word
        if (!collecting && !playing) announce(label);
        since = 0;
      }
    }
    await sleep(Math.max(10, PAUSE - (performance.now() - began)));
  }
}

// --- the answer ----------------------------------------------------------------------------------

const few = () => about.labels.length <= 10;

function drawBars() {
  const count = few() ? about.labels.length : 5;
  for (let row = 0; row < count; row++) {
    const item = document.createElement("li");
    const track = element("div", "", "track");
    track.append(element("div", "", "fill"));
    if (about.thresholds.length) track.append(element("div", "", "threshold"));
    item.append(element("span", few() ? about.labels[row] : "", "name"), element("span", ""), track);
    $("bars").append(item);
  }
}

/** Few classes keep their places, which a camera's picture would else shuffle; of many the best. */
function render({ probabilities, pixels }) {
  const holds = holding(probabilities, about);
  const order = [...probabilities.keys()];
  if (!few()) order.sort((a, b) => probabilities[b] - probabilities[a]);
  [...$("bars").children].forEach((item, row) => {
    const index = order[row], [name, number, track] = item.children;
    item.dataset.label = name.textContent = about.labels[index];
    item.dataset.probability = probabilities[index];
    name.classList.toggle("holds", holds.includes(index));
    number.textContent = percent(probabilities[index]);
    track.firstChild.style.width = `${100 * probabilities[index]}%`;
    if (about.thresholds.length) {
      track.lastChild.style.left = `${100 * about.thresholds[index]}%`;
      track.title = `holds from ${percent(about.thresholds[index])} on`;
    }
  });
  const names = holds.map((index) => about.labels[index]);
  $("label").textContent = names.join(", ") || "none of them";
  $("lead").textContent = about.task === "multi_label" ? "It sees"
    : `It says, with ${percent(probabilities[holds[0]])}`;
  drawSeen(pixels);
}

function drawSeen(pixels) {
  const [height, width] = about.image_size, { channels } = about;
  const shown = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let channel = 0; channel < 3; channel++) {
      shown.data[4 * i + channel] = pixels[i * channels + (channels === 3 ? channel : 0)];
    }
    shown.data[4 * i + 3] = 255;
  }
  [$("seen").width, $("seen").height] = [width, height];
  $("seen").getContext("2d").putImageData(shown, 0, 0);
}

function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

function announce(text) {
  $("status").textContent = text;
}

// --- the game ------------------------------------------------------------------------------------

let playing = false, won = 0, lost = 0;

/** Whether the labels are the three hands. */
function plays() {
  const names = about.labels.map((label) => label.toLowerCase());
  return names.length === 3 && Object.keys(BEATS).every((name) => names.includes(name));
}

function lay(place, hand, best = false) {
  $(place).innerHTML = hand in ICONS ? `<svg viewBox="0 0 24 24" role="img" aria-label="${hand}">${ICONS[hand]}</svg>` : hand;
  $(place).classList.toggle("best", best);
}

async function round() {
  if (playing) return;
  playing = true;
  $("play").disabled = true;
  const ready = stream || await startCamera();
  if (ready) {
    $("stage").scrollIntoView({ block: "nearest" });
    const hands = Object.keys(BEATS);
    const theirs = hands[crypto.getRandomValues(new Uint32Array(1))[0] % hands.length];
    lay("yours", "?");
    lay("theirs", "?");
    $("outcome").textContent = "Get ready…";
    for (const word of ["3", "2", "1", "Go!"]) {
      $("countdown").textContent = word;
      announce(word);
      await sleep(word === "Go!" ? 300 : 750);
    }
    const yours = await readHand();
    $("countdown").textContent = "";
    settle(yours, theirs);
  }
  playing = false;
  $("play").disabled = false;
}

/** The hand that the mean of a few looks shows; null if none is clear or the camera has stopped. */
async function readHand() {
  collecting = [];
  for (let waited = 0; stream && collecting.length < 4 && waited < 8000; waited += 50) await sleep(50);
  const looks = collecting;
  collecting = null;
  if (!looks.length) return null;
  const means = about.labels.map((_, index) =>
    looks.reduce((sum, each) => sum + each[index], 0) / looks.length);
  const most = Math.max(...means);
  return most >= SURE ? about.labels[means.indexOf(most)].toLowerCase() : null;
}

function settle(yours, theirs) {
  let text;
  if (!yours) {
    text = "Your hand was not clear, so this round does not count. Nearer, with more light?";
    lay("yours", "?");
    lay("theirs", "?");
  } else {
    const first = BEATS[yours] === theirs, second = BEATS[theirs] === yours;
    won += first;
    lost += second;
    lay("yours", yours, first);
    lay("theirs", theirs, second);
    text = first ? `${WORDS[yours]}: you win!` : second ? `${WORDS[theirs]}: you lose.`
      : `Both ${yours}: a draw.`;
  }
  showScore();
  $("outcome").textContent = text;
  announce(yours ? `You: ${yours}. Computer: ${theirs}. ${text} ${won} to ${lost}.` : text);
}

function showScore() {
  $("won").textContent = won;
  $("lost").textContent = lost;
  $("again").disabled = !(won || lost);
}

// --- hands on the page ---------------------------------------------------------------------------

const given = (files) => [...files].find((file) => file.type.startsWith("image/")) ?? files[0];

$("file").addEventListener("change", ({ target }) => {
  if (target.files.length) showFile(given(target.files));
  target.value = "";  // the same again is a change too
});
$("camera").addEventListener("click", () => {
  latest++;
  if (stream) stopCamera();
  else startCamera();
});
$("turn").addEventListener("click", () => {
  facing = facing === "user" ? "environment" : "user";
  stopCamera();
  startCamera();
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("stage").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && session && event.dataTransfer.files.length) {
      showFile(given(event.dataTransfer.files));
    }
  });
}
document.addEventListener("paste", (event) => {
  if (session && event.clipboardData.files.length) showFile(given(event.clipboardData.files));
});
$("play").addEventListener("click", round);
$("again").addEventListener("click", () => {
  won = lost = 0;
  lay("yours", "?");
  lay("theirs", "?");
  $("outcome").textContent = "Ready when you are";
  showScore();
  $("play").focus();
});
document.addEventListener("keydown", (event) => {
  const control = event.target.closest("button, input, summary, a");
  if (event.key === " " && !control && session && plays() && !event.repeat) {
    event.preventDefault();
    round();
  }
});

start();
