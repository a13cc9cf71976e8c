// Prints the issues of the GLB file named last, as the Khronos validator in the folder named first finds them.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [folder, file] = process.argv.slice(2);
const validator = createRequire(import.meta.url)(folder);
const report = await validator.validateBytes(new Uint8Array(readFileSync(file)), { maxIssues: 100 });
console.log(JSON.stringify({ mime: report.mimeType, version: report.info.version, issues: report.issues }));
