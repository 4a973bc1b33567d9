// For each profile NAME among the arguments: asks the verifier NAME.js about every vector of NAME.json, both in the
// folder of this process, and prints `NAME VECTOR true` or `false`.

const fs = require("node:fs");
const path = require("node:path");

// What a verifier says of a request; anything else that goes wrong ends the run.
const REFUSALS = /missing|expected form|too old|has the parameter|no signature matches/;

for (const name of process.argv.slice(2)) {
  const { verify } = require(path.resolve(`${name}.js`));
  const document = JSON.parse(fs.readFileSync(`${name}.json`, "utf8"));
  for (const vector of document.vectors) {
    const now = Math.floor(Date.parse(vector.verified_at) / 1000);
    const query = vector.url.split("?").slice(1).join("?");
    let verdict = "true";
    try {
      verify(Object.fromEntries(vector.headers), Buffer.from(vector.body), vector.secrets, query, now);
    } catch (error) {
      if (!REFUSALS.test(error.message)) throw error;
      verdict = "false";
    }
    console.log(`${name} ${vector.name} ${verdict}`);
  }
}
