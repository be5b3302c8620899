// Labels pictures with the model.onnx that lies one folder up.
//
//   npm install
//   node client.mjs PICTURE ...     the label and probability of each
//   node client.mjs --check         compares with golden.json; exits with 1 if it is not met
//
// PNG with 8 bits a channel is decoded here; everything else takes the package sharp.
import { readFile } from "node:fs/promises";
import { inflateSync } from "node:zlib";
import { classify, holding } from "./classifier.mjs";

const here = (name) => new URL(name, import.meta.url);
const json = async (name) => JSON.parse(await readFile(here(name), "utf8"));

/** onnxruntime-node if it is installed, else onnxruntime-web's WebAssembly. */
async function runtime() {
  try {
    const found = await import("onnxruntime-node");
    return found.default ?? found;
  } catch {
    const found = await import("onnxruntime-web/wasm");
    found.env.wasm.numThreads = 1;
    return found;
  }
}

/** {height, width, pixels} in RGB, upright. */
export async function decode(path) {
  const content = await readFile(path);
  const simple = png(content);
  if (simple) return simple;
  const { default: sharp } = await import("sharp").catch(() => {
    throw new Error(`${path} is no PNG with 8 bits a channel: npm install sharp`);
  });
  const { data, info } = await sharp(content, { ignoreIcc: true })  // as training did
    .rotate().toColourspace("srgb").removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { height: info.height, width: info.width, pixels: new Uint8Array(data) };
}

/** What PNG's filters predict a byte from: left, above, above left (RFC 2083, section 6). */
const FILTERS = [
  () => 0,
  (left) => left,
  (left, up) => up,
  (left, up) => (left + up) >> 1,
  (left, up, corner) => {
    const guess = left + up - corner;
    const [a, b, c] = [left, up, corner].map((each) => Math.abs(guess - each));
    return a <= b && a <= c ? left : b <= c ? up : corner;
  },
];

/** The picture, or null of what is no PNG, is turned by EXIF, interlaced, or has not 8 bits. */
function png(content) {
  if (content.subarray(1, 4).toString("latin1") !== "PNG") return null;
  const chunks = {}, parts = [];
  for (let at = 8; at + 8 <= content.length; at += 12 + content.readUInt32BE(at)) {
    const name = content.subarray(at + 4, at + 8).toString("latin1");
    const body = content.subarray(at + 8, at + 8 + content.readUInt32BE(at));
    if (name === "IDAT") parts.push(body);
    else chunks[name] = body;
  }
  const header = chunks.IHDR;
  const width = header.readUInt32BE(0), height = header.readUInt32BE(4);
  const [depth, kind, , , interlaced] = header.subarray(8);
  if (depth !== 8 || interlaced || chunks.eXIf) return null;
  const count = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }[kind];
  const raw = inflateSync(Buffer.concat(parts)), length = width * count;
  const bytes = new Uint8Array(height * length);
  for (let y = 0; y < height; y++) {
    const predict = FILTERS[raw[y * (length + 1)]];
    for (let x = 0; x < length; x++) {
      const at = y * length + x;
      const left = x < count ? 0 : bytes[at - count], up = y ? bytes[at - length] : 0;
      const corner = x < count || !y ? 0 : bytes[at - length - count];
      bytes[at] = raw[y * (length + 1) + 1 + x] + predict(left, up, corner);
    }
  }
  const pixels = new Uint8Array(height * width * 3);
  for (let i = 0; i < height * width; i++) {
    for (let channel = 0; channel < 3; channel++) {
      const at = i * count + (kind === 2 || kind === 6 ? channel : 0);
      pixels[i * 3 + channel] = kind === 3 ? chunks.PLTE[bytes[at] * 3 + channel] : bytes[at];
    }
  }
  return { height, width, pixels };
}

/** Largest difference of two rows of numbers. */
const apart = (some, others) => some.reduce(
  (most, each, index) => Math.max(most, Math.abs(each - others[index])), 0);

/** Whether pixels differ by at most one grey level from golden.json's (decoders and OpenCV's own
 * builds may), and probabilities by at most its tolerance. */
async function check(run, about) {
  const golden = await json("golden.json");
  let good = true;
  for (const each of golden.pictures) {
    const { probabilities, pixels, said } = await run(here(each.picture));
    const expected = (await decode(here(each.pixels))).pixels
      .filter((_, index) => about.channels === 3 || index % 3 === 0);
    const levels = pixels.length === expected.length ? apart(pixels, expected) : Infinity;
    const difference = apart(probabilities, each.probabilities);
    const met = levels <= 1 && difference <= golden.tolerance;
    console.log(`${each.picture}  ${said}  pixels differ by ${levels},`
      + ` probabilities by ${difference.toExponential(1)}${met ? "" : "  NOT MET"}`);
    good &&= met;
  }
  return good;
}

const about = await json("about.json");
const ort = await runtime();
const session = await ort.InferenceSession.create(await readFile(here("../model.onnx")));
const run = async (path) => {
  const found = await classify(ort, session, await decode(path), about);
  const names = holding(found.probabilities, about).map((index) => about.labels[index]);
  return { ...found, said: names.join("|") || "-" };
};
const names = process.argv.slice(2);
if (!names.length || ["-h", "--help"].includes(names[0])) {
  console.log("node client.mjs PICTURE ... | --check");
  process.exitCode = names.length ? 0 : 2;
} else if (names[0] === "--check") {
  process.exitCode = (await check(run, about)) ? 0 : 1;
} else {
  for (const name of names) {
    try {
      const { probabilities, said } = await run(name);
      console.log(`${name}  ${said}  ${Math.max(...probabilities).toFixed(4)}`);
    } catch (error) {
      console.error(`${name}: ${error.message}`);
      process.exitCode = 1;
    }
  }
}
