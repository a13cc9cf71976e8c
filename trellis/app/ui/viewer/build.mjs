// Builds the one file that the page loads: `npm ci && npm run build`. The result is committed.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";

const notices = ["three", "@sparkjsdev/spark", "fflate"]
  .map((name) => {
    const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
    return `${name} ${version}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim()}`;
  })
  .join("\n\n----\n\n");

// A test holds the file to what it is built from.
const sources = createHash("sha256");
for (const path of ["build.mjs", "package-lock.json", ...readdirSync("src").sort().map((name) => `src/${name}`)]) {
  sources.update(`${path}\0`).update(readFileSync(path)).update("\0");
}

await build({
  entryPoints: ["src/index.js"],
  outfile: "../static/viewer.js",
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  charset: "utf8",
  loader: { ".css": "text" },
  banner: { js: `/*! Sources: ${sources.digest("hex")}\n\nThis file contains:\n\n${notices}\n*/` },
  legalComments: "none",
});
