// From a picture to the pixels that the network sees, and from its scores to a label.
//
// A picture is {height, width, pixels}: RGB bytes, row by row. What the network wants stands in
// about.json. Pictures are shrunk and stretched as OpenCV's cv2.resize does, to the bit: INTER_AREA
// in float32, INTER_LINEAR with weights of 11 bits.

/** The probabilities of a picture: Float32Array [K], and the pixels that the network saw. */
export async function classify(ort, session, picture, about) {
  const pixels = present(picture, about);
  const shape = [1, ...about.image_size, about.channels];
  const { probabilities } = await session.run(
    { image: new ort.Tensor("uint8", pixels, shape) }, ["probabilities"]);
  return { probabilities: probabilities.data, pixels };
}

/** The indices of the labels that hold: the most probable one, or all from their thresholds on. */
export function holding(probabilities, about) {
  if (about.task === "single_label") return [probabilities.indexOf(Math.max(...probabilities))];
  return about.thresholds.flatMap((threshold, index) =>
    probabilities[index] >= threshold ? [index] : []);
}

/** RGB of RGBA, as canvases give it; alpha is dropped. */
export function withoutAlpha(rgba) {
  const rgb = new Uint8Array(rgba.length / 4 * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from];
    rgb[to++] = rgba[from + 1];
    rgb[to++] = rgba[from + 2];
  }
  return rgb;
}

/** Uint8Array [H, W, C]: `crop` cuts the longer side equally at both ends, `pad` adds black there,
 * `stretch` changes the shape. */
export function present(picture, about) {
  const [height, width] = about.image_size;
  let { height: h, width: w } = picture;
  let inner = [height, width];
  if (about.fit === "crop") {
    const ratio = height / width;
    h = Math.min(h, Math.max(1, toEven(w * ratio)));
    w = Math.min(w, Math.max(1, toEven(picture.height / ratio)));
    picture = cut(picture, h, w);
  }
  if (about.fit === "pad") {
    const scale = Math.min(height / h, width / w);
    inner = [Math.max(1, Math.min(height, toEven(h * scale))),
             Math.max(1, Math.min(width, toEven(w * scale)))];
  }
  const small = resize(picture, ...inner, about.resize);
  const result = new Uint8Array(height * width * 3);
  const top = Math.floor((height - inner[0]) / 2), left = Math.floor((width - inner[1]) / 2);
  for (let y = 0; y < inner[0]; y++) {
    const row = small.subarray(y * inner[1] * 3, (y + 1) * inner[1] * 3);
    result.set(row, ((top + y) * width + left) * 3);
  }
  return about.channels === 1 ? grey(result) : result;
}

function cut(picture, height, width) {
  const top = Math.floor((picture.height - height) / 2);
  const left = Math.floor((picture.width - width) / 2);
  const pixels = new Uint8Array(height * width * 3);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * picture.width + left) * 3;
    pixels.set(picture.pixels.subarray(start, start + width * 3), y * width * 3);
  }
  return { height, width, pixels };
}

function grey(rgb) {
  const result = new Uint8Array(rgb.length / 3);
  for (let i = 0, at = 0; i < result.length; i++, at += 3) {  // of 32768: 0.299, 0.587, 0.114
    result[i] = (9798 * rgb[at] + 19235 * rgb[at + 1] + 3735 * rgb[at + 2] + 16384) >> 15;
  }
  return result;
}

/** Stretched; `area` is for pictures that shrink, others are bilinear. */
function resize(picture, height, width, method) {
  const { height: h, width: w, pixels } = picture;
  if (h === height && w === width) return pixels;
  const down = 1 / (height / h), across = 1 / (width / w);
  const whole = Number.isInteger(down) && Number.isInteger(across);
  if (method === "area" && height <= h && width <= w) {
    return whole ? blocks(pixels, h, w, down, across) : area(pixels, h, w, height, width);
  }
  if (whole && down === 2 && across === 2) return blocks(pixels, h, w, 2, 2);
  return linear(pixels, h, w, height, width);
}

/** Means of whole blocks of pixels. */
function blocks(pixels, h, w, down, across) {
  const height = h / down, width = w / across, share = Math.fround(1 / (down * across));
  const result = new Uint8Array(height * width * 3);
  for (let y = 0, to = 0; y < height; y++) {
    for (let at = 0; at < width * 3; at++, to++) {
      const left = Math.floor(at / 3) * across, channel = at % 3;
      let sum = 0;
      for (let row = y * down; row < (y + 1) * down; row++) {
        for (let x = left; x < left + across; x++) sum += pixels[(row * w + x) * 3 + channel];
      }
      result[to] = down === 2 && across === 2
        ? (sum + 2) >> 2 : toEven(Math.fround(Math.fround(sum) * share));
    }
  }
  return result;
}

/** Means of cells that may cut pixels, added in OpenCV's order. */
function area(pixels, h, w, height, width) {
  const wide = new Float32Array(h * width * 3);
  const columns = cells(w, width), rows = cells(h, height);
  for (let y = 0, to = 0; y < h; y++) {
    for (const taps of columns) {
      for (let channel = 0; channel < 3; channel++, to++) {
        for (const [x, weight] of taps) {
          wide[to] += Math.fround(pixels[(y * w + x) * 3 + channel] * weight);
        }
      }
    }
  }
  const result = new Uint8ClampedArray(height * width * 3);
  const sums = new Float32Array(width * 3);
  rows.forEach((taps, y) => {
    sums.fill(0);
    for (const [row, weight] of taps) {
      const start = row * sums.length;
      for (let at = 0; at < sums.length; at++) sums[at] += Math.fround(wide[start + at] * weight);
    }
    result.set(sums, y * sums.length);  // rounds to even, as OpenCV does
  });
  return new Uint8Array(result.buffer);
}

/** For each of `size` cells, the pixels of `count` that it covers: [index, weight]. */
function cells(count, size) {
  const scale = 1 / (size / count);
  return Array.from({ length: size }, (_, cell) => {
    const start = cell * scale, end = start + scale, width = Math.min(scale, count - start);
    const last = Math.min(Math.floor(end), count - 1);
    const first = Math.min(Math.ceil(start), last);
    const taps = [];
    const add = (index, weight) => taps.push([index, Math.fround(weight)]);
    if (first - start > 1e-3) add(first - 1, (first - start) / width);
    for (let index = first; index < last; index++) add(index, 1 / width);
    if (end - last > 1e-3) add(last, Math.min(end - last, 1, width) / width);
    return taps;
  });
}

function linear(pixels, h, w, height, width) {
  const wide = new Int32Array(h * width * 3);
  const columns = neighbours(w, width, true), rows = neighbours(h, height, false);
  for (let y = 0, to = 0; y < h; y++) {
    for (const [left, right, least, most] of columns) {
      for (let channel = 0; channel < 3; channel++, to++) {
        wide[to] = pixels[(y * w + left) * 3 + channel] * least
          + pixels[(y * w + right) * 3 + channel] * most;
      }
    }
  }
  const result = new Uint8ClampedArray(height * width * 3), length = width * 3;
  rows.forEach(([above, below, least, most], y) => {
    for (let at = 0; at < length; at++) {
      result[y * length + at] = ((((wide[above * length + at] >> 4) * least) >> 16)
        + (((wide[below * length + at] >> 4) * most) >> 16) + 2) >> 2;
    }
  });
  return new Uint8Array(result.buffer);
}

/** For each pixel, the two that it lies between and their weights of 2048. */
function neighbours(count, size, across) {
  const scale = 1 / (size / count), inside = (index) => Math.max(0, Math.min(count - 1, index));
  return Array.from({ length: size }, (_, place) => {
    const exact = Math.fround((place + 0.5) * scale - 0.5), first = Math.floor(exact);
    // OpenCV lets go of the fraction at the sides, at top and bottom it does not
    const part = across && (first < 0 || first >= count - 1) ? 0 : Math.fround(exact - first);
    const weight = (share) => toEven(Math.fround(share) * 2048);
    return [inside(first), inside(first + 1), weight(1 - part), weight(part)];
  });
}

/** Rounded, halves to the even neighbour; of numbers that are not negative. */
function toEven(value) {
  const low = Math.floor(value), rest = value - low;
  return low + (rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? 1 : 0);
}
