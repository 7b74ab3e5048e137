// Writes canonical.ndjson from inputs.ndjson: node make.mjs
//
// It shares nothing with package audit. JSON.stringify and String(number) are what RFC 8785 is defined by;
// the two things that JavaScript lacks, float32 and BLAKE3, are written out below as their definitions
// read, slow and plain.

import { readFileSync, writeFileSync } from "node:fs";

const lines = readFileSync("inputs.ndjson", "utf8").trimEnd().split("\n");
writeFileSync("canonical.ndjson", lines.map((line) => canonical(line) + "\n").join(""));

function canonical(line) {
  const r = JSON.parse(line);
  // A timestamp need not be a float64, so it is taken from the text.
  const timestamp = line.match(/"timestamp"\s*:\s*(\d+)/)[1];
  const write = (id) =>
    `{"query_id":"${id}","agent_id":${hash(r.agent_id)},"timestamp":${timestamp},"params":{` +
    `"subject":${text(r.params.subject)},"predicate":${text(r.params.predicate)},` +
    `"lifecycle":${lifecycle(r.params.lifecycle)},"epoch":${hash(r.params.epoch)},"lens":${text(r.params.lens)}},` +
    `"result_hash":${hash(r.result_hash)},"result_confidence":${float32(r.result_confidence)},` +
    `"contributing_assertions":[${(r.contributing_assertions ?? []).map(contribution).join(",")}]` +
    `${attributes(r.attributes ?? {})}}`;
  const none = "0".repeat(64);
  const id = (r.query_id ?? none).toLowerCase();
  return write(id === none ? blake3(Buffer.from(write(none), "utf8")).toString("hex") : id);
}

function hash(h) {
  return h == null ? "null" : `"${h.toLowerCase()}"`;
}

function text(s) {
  return s == null ? "null" : JSON.stringify(s);
}

function lifecycle(name) {
  if (name == null) return "null";
  const known = ["Proposed", "UnderReview", "Approved", "Deprecated", "Rejected"];
  return `"${known.find((k) => k.toLowerCase() === name.toLowerCase().replace("under_review", "underreview"))}"`;
}

function contribution(c) {
  return `{"assertion_hash":${hash(c.assertion_hash)},"weight":${float32(c.weight)},` +
    `"source_hash":${hash(c.source_hash)},"lifecycle":${lifecycle(c.lifecycle)}}`;
}

function attributes(a) {
  const keys = Object.keys(a).sort(); // by UTF-16 code units
  if (keys.length === 0) return "";
  return `,"attributes":{${keys.map((k) => JSON.stringify(k) + ":" + JSON.stringify(a[k])).join(",")}}`;
}

// float32 tries ever more digits. For each number of them it takes the nearest decimals on either side, in
// exact arithmetic; of those that read back, the nearest, and of two as near, the even one.
function float32(number) {
  const v = Math.fround(number);
  if (v === 0) return "0";
  const size = Math.abs(v);
  const [n, d] = fraction(size);
  for (let digits = 1; ; digits++) {
    const scale = Number(size.toExponential(0).split("e")[1]) + 1 - digits;
    const up = 10n ** BigInt(Math.max(0, scale));
    const down = 10n ** BigInt(Math.max(0, -scale));
    const low = (n * down) / (d * up);
    const distance = (s) => (s * d * up > n * down ? s * d * up - n * down : n * down - s * d * up);
    const near = [low, low + 1n].sort((x, y) =>
      distance(x) < distance(y) ? -1 : distance(x) > distance(y) ? 1 : Number((x & 1n) - (y & 1n)));
    for (const s of near) {
      const decimal = Number(`${s}e${scale}`);
      if (Math.fround(decimal) === size) return String(v < 0 ? -decimal : decimal);
    }
  }
}

// fraction returns a float64 as numerator and denominator.
function fraction(v) {
  let d = 1n;
  while (!Number.isInteger(v)) {
    v *= 2;
    d *= 2n;
  }
  return [BigInt(v), d];
}

// blake3 is the hash of the BLAKE3 paper with 32 bytes of output.
function blake3(input) {
  const iv = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
  const permutation = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
  const [chunkStart, chunkEnd, parent, root] = [1, 2, 4, 8];
  const rotate = (x, n) => (x >>> n) | (x << (32 - n));

  function compress(chaining, block, length, counter, flags) {
    let m = Array.from({ length: 16 }, (_, i) => block.readUInt32LE(4 * i));
    const v = [...chaining, ...iv.slice(0, 4), counter, 0, length, flags];
    const mix = (a, b, c, d, x, y) => {
      v[a] = (v[a] + v[b] + x) | 0;
      v[d] = rotate(v[d] ^ v[a], 16);
      v[c] = (v[c] + v[d]) | 0;
      v[b] = rotate(v[b] ^ v[c], 12);
      v[a] = (v[a] + v[b] + y) | 0;
      v[d] = rotate(v[d] ^ v[a], 8);
      v[c] = (v[c] + v[d]) | 0;
      v[b] = rotate(v[b] ^ v[c], 7);
    };
    for (let round = 0; round < 7; round++) {
      for (let i = 0; i < 4; i++) mix(i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1]);
      for (let i = 0; i < 4; i++) mix(i, 4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4), m[8 + 2 * i], m[9 + 2 * i]);
      m = permutation.map((i) => m[i]);
    }
    return v.slice(0, 8).map((x, i) => x ^ v[i + 8]);
  }
  function words(list) {
    const b = Buffer.alloc(4 * list.length);
    list.forEach((w, i) => b.writeInt32LE(w | 0, 4 * i));
    return b;
  }
  function subtree(data, counter, last) {
    if (data.length > 1024) {
      let left = 1024;
      while (2 * left < data.length) left *= 2;
      const block = Buffer.concat([
        words(subtree(data.subarray(0, left), counter, 0)),
        words(subtree(data.subarray(left), counter + left / 1024, 0)),
      ]);
      return compress(iv, block, 64, 0, parent | last);
    }
    let chaining = iv;
    for (let at = 0; at === 0 || at < data.length; at += 64) {
      const part = data.subarray(at, at + 64);
      const end = at + 64 >= data.length;
      const block = Buffer.concat([part, Buffer.alloc(64 - part.length)]);
      const flags = (at === 0 ? chunkStart : 0) | (end ? chunkEnd | last : 0);
      chaining = compress(chaining, block, part.length, counter, flags);
    }
    return chaining;
  }
  return words(subtree(input, 0, root));
}
