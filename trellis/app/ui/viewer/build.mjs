// Builds the one file that the page loads: `npm ci && npm run build`. The result is committed.
import { build } from "esbuild";
import { readFileSync } from "node:fs";

const notices = ["three", "@sparkjsdev/spark", "fflate"]
  .map((name) => {
    const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
    return `${name} ${version}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim()}`;
  })
  .join("\n\n----\n\n");

await build({
  entryPoints: ["src/index.js"],
  outfile: "../static/viewer.js",
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  charset: "utf8",
  banner: { js: `/*! This file contains:\n\n${notices}\n*/` },
  legalComments: "none",
});
