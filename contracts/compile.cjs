// Compiles one standard-JSON input from standard input, so that build.py needs no Solidity of its own.
const fs = require("node:fs");
const path = require("node:path");
const solc = require("solc");

function readImport(name) {
  try {
    return { contents: fs.readFileSync(path.join(__dirname, "node_modules", name), "utf8") };
  } catch (error) {
    return { error: String(error) };
  }
}

const input = fs.readFileSync(0, "utf8");
process.stdout.write(solc.compile(input, { import: readImport }));
