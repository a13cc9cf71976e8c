// What the faces of a mesh share. Runs in a worker, for a mesh of two million faces takes a second or two.

// positions float32 [V * 3], index uint32 [F * 3] -> { lines: uint32 pairs of vertices, one for every edge;
// unpaired: how many edges are not shared by two faces }. A vertex that a file holds twice, at a seam of the texture,
// is one here. It calls nothing outside itself: a worker is made of its text.
function findEdges(positions, index) {
  const bits = new Int32Array(positions.buffer, positions.byteOffset, positions.length);
  const hash = (a, b, c) => Math.imul(a, 73856093) ^ Math.imul(b, 19349663) ^ Math.imul(c, 83492791);
  const mix = (value, mask) => (value ^ (value >>> 15)) & mask;
  const power = (count) => 2 ** Math.ceil(Math.log2(Math.max(count, 8)));

  const vertices = positions.length / 3;
  const places = new Int32Array(power(2 * vertices)).fill(-1);
  const welded = new Uint32Array(vertices);
  const key = (at) => (positions[at] === 0 ? 0 : bits[at]); // 0 and -0 are one place
  for (let vertex = 0; vertex < vertices; vertex++) {
    const at = 3 * vertex;
    let slot = mix(hash(key(at), key(at + 1), key(at + 2)), places.length - 1);
    for (; places[slot] >= 0; slot = (slot + 1) & (places.length - 1)) {
      const other = 3 * places[slot];
      if (key(at) === key(other) && key(at + 1) === key(other + 1) && key(at + 2) === key(other + 2)) break;
    }
    if (places[slot] < 0) places[slot] = vertex;
    welded[vertex] = places[slot];
  }

  const size = power(index.length);
  const low = new Int32Array(size).fill(-1);
  const high = new Int32Array(size);
  const uses = new Uint8Array(size);
  const lines = new Uint32Array(2 * index.length);
  let count = 0;
  for (let corner = 0; corner < index.length; corner++) {
    const first = index[corner];
    const second = index[corner % 3 === 2 ? corner - 2 : corner + 1];
    const a = Math.min(welded[first], welded[second]);
    const b = Math.max(welded[first], welded[second]);
    if (a === b) continue; // a face without area
    let slot = mix(hash(a, b, 0), size - 1);
    while (low[slot] >= 0 && (low[slot] !== a || high[slot] !== b)) slot = (slot + 1) & (size - 1);
    if (low[slot] < 0) {
      low[slot] = a;
      high[slot] = b;
      lines[2 * count] = first;
      lines[2 * count + 1] = second;
      count += 1;
    }
    if (uses[slot] < 255) uses[slot] += 1;
  }
  let unpaired = 0;
  for (let slot = 0; slot < size; slot++) if (low[slot] >= 0 && uses[slot] !== 2) unpaired += 1;
  return { lines: lines.slice(0, 2 * count), unpaired };
}

const PROGRAM = `
const find = ${findEdges};
onmessage = ({ data }) => {
  const found = find(data.positions, data.index);
  postMessage(found, [found.lines.buffer]);
};`;

// The same, without holding the page up.
export function findEdgesAside(positions, index) {
  const address = URL.createObjectURL(new Blob([PROGRAM], { type: "text/javascript" }));
  const worker = new Worker(address);
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage({ positions, index }); // copies
  }).finally(() => {
    worker.terminate();
    URL.revokeObjectURL(address);
  });
}
