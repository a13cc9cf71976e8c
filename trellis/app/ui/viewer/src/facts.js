// Numbers for people.
const grouped = new Intl.NumberFormat("en");

// One text for every fact of a model (see model.js); `unpaired` edges: null while they are counted.
export function factTexts({ faces, vertices, gaussians, coarse, texture, bytes, size, unpaired }) {
  const texts = [];
  if (gaussians !== undefined) texts.push(`${grouped.format(gaussians)} Gaussians`);
  if (faces !== undefined) texts.push(`${grouped.format(faces)} faces`, `${grouped.format(vertices)} vertices`);
  if (texture) texts.push(`texture ${texture.join(" × ")}`);
  texts.push(byteText(bytes));
  if (unpaired === 0) texts.push("closed");
  if (unpaired > 0) texts.push(`open at ${grouped.format(unpaired)} edges`);
  if (coarse) texts.push("drawn coarser: no graphics card");
  texts.push(`${size.map(lengthNumber).join(" × ")} m`);
  return texts;
}

export function byteText(bytes) {
  return bytes >= 100_000 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.max(bytes / 1e3, 0.1).toFixed(1)} kB`;
}

export function lengthText(metres) {
  return metres < 1 ? `${lengthNumber(100 * metres)} cm` : `${lengthNumber(metres)} m`;
}

function lengthNumber(value) {
  return value >= 100 ? grouped.format(Math.round(value)) : String(Number(value.toPrecision(3)));
}
