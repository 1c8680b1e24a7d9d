// Reads and writes Sparkplug payloads with Eclipse Tahu's own library, for tests.
// node sparkplug_payload.mjs FOLDER_OF_PACKAGE; standard input: {decode: [Base64], encode: [payload]}; output: the same, done.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";

const library = createRequire(process.argv[2] + "/")("sparkplug-payload").get("spBv1.0");
const { decode, encode } = JSON.parse(readFileSync(0, "utf8"));
const text = (_key, value) => (typeof value === "bigint" ? Number(value) : value && value.low !== undefined ? value.low : value);
const result = {
  decode: decode.map((each) => library.decodePayload(Buffer.from(each, "base64"))),
  encode: encode.map((each) => Buffer.from(library.encodePayload(each)).toString("base64")),
};
writeFileSync(1, JSON.stringify(result, text));
