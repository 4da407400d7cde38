// Bundle viewer.js with three.js: `npm ci && npm run build`. The result is committed.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

// tests/test_viewer.py compares: a bundle older than its sources does not pass
const sources = ["body.js", "viewer.js", "viewer.css", "package-lock.json"];
const digest = createHash("sha256");
for (const file of sources) digest.update(readFileSync(file, "utf8").replaceAll("\r\n", "\n"));
const license = readFileSync("node_modules/three/LICENSE", "utf8");

await build({
  entryPoints: ["viewer.js"],
  outfile: "../viewer.bundle.js",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  loader: { ".css": "text" },
  legalComments: "none",
  banner: {
    js: `/* sources ${digest.digest("hex")} */\n/* Contains three.js.\n${license}*/`,
  },
});
