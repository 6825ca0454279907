// Asks every subnet of a palette from JavaScript, by onnxruntime-node alone: nothing of EdgeDistill is needed.
//
// Usage: node ask.mjs PALETTE
//
// The rows are those that the export stored with the palette (probes), so that the answers can be compared with
// the recorded ones. In an application the token ids come from a tokenizer that reads the palette's tokenizer.json.

import { readFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";

import * as ort from "onnxruntime-node";

// Largest difference over the largest answer or 1; in int8 a sum that rounds the other way moves by a whole step.
const TOLERANCE = { none: 1e-3, "int8-dynamic": 0.1 };

async function readJson(folder, name) {
  return JSON.parse(await readFile(path.join(folder, name), "utf8"));
}

/** Rows of whole numbers as an int64 tensor [batch, sequence]. */
function int64(rows) {
  return new ort.Tensor("int64", BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0].length]);
}

async function ask(folder, subnet, inputs) {
  // The graph names its weights file, which lies beside it: give the path, not the bytes.
  const session = await ort.InferenceSession.create(path.join(folder, subnet.graph), {
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const feeds = Object.fromEntries(session.inputNames.map((name) => [name, int64(inputs[name])]));
  const outputs = await session.run(feeds);
  return Array.from(outputs[session.outputNames[0]].data);
}

function difference(found, expected) {
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  return found.reduce((most, value, place) => Math.max(most, Math.abs(value - expected[place])), 0) / scale;
}

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error("usage: node ask.mjs PALETTE");
  process.exit(2);
}
const manifest = await readJson(folder, "manifest.json");
const probes = await readJson(folder, manifest.probes);
for (const subnet of manifest.subnets) {
  const answers = await ask(folder, subnet, probes.inputs);
  const expected = probes.answers[subnet.name];
  const gap = answers.length === expected.length ? difference(answers, expected) : Infinity;
  const first = answers.slice(0, manifest.labels.length);
  const label = manifest.labels[first.indexOf(Math.max(...first))];
  console.log(JSON.stringify({ subnet: subnet.name, label, difference: gap }));
  if (!(gap <= TOLERANCE[subnet.quantization.scheme])) {
    console.error(`${subnet.name} answers otherwise than where it was exported`);
    process.exitCode = 1;
  }
}
