// PostgreSQL with TimescaleDB as WebAssembly: runs files and statements, and prints the rows of the last ones as JSON.
// node timescale.mjs FOLDER_OF_PACKAGE INPUT.json; INPUT: {files: [path], blob: text of COPY, statements: [sql]}
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, input] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(`${folder}/dist/${name}`));
const { PGlite } = await load("index.js");
const { timescaledb } = await load("timescaledb/index.js");
const { files, blob, statements } = JSON.parse(readFileSync(input, "utf8"));
const database = await PGlite.create({ extensions: { timescaledb } });
for (const file of files) {
  const text = readFileSync(file, "utf8");
  // As psql does: one statement at a time outside a transaction.
  const parts = text.includes("BEGIN;") ? [text] : text.replace(/^--.*$/gm, "").split(/;\s*\n/);
  for (const part of parts) if (part.trim()) await database.exec(part);
}
const copy = "COPY vedette.inbox (time, topic, value) FROM '/dev/blob' WITH (FORMAT csv)";
await database.query(copy, [], { blob: new Blob([blob]) });
const results = [];
for (const statement of statements) results.push((await database.query(statement)).rows);
writeFileSync(1, JSON.stringify(results)); // not console.log: the end would cut it off
process.exit(0);
