// What the faces of a mesh share, and fewer of them. Runs in a worker: two million faces take seconds.

// positions float32 [V * 3], index uint32 [F * 3] -> { lines: uint32 pairs of vertices, one for every edge;
// unpaired: how many edges are not shared by two faces, welded: the first vertex at the place of each }. A vertex that a file holds twice, at a seam of the texture,
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
  return { lines: lines.slice(0, 2 * count), unpaired, welded };
}

// Fewer faces for a machine that draws without a graphics card: index uint32 of faces between the same vertices, one for
// all that lie in one cell of a grid and in one patch of the texture (uvs float32 [V * 2], or null).
function coarsen(positions, uvs, index, cells) {
  const [low, high] = [[Infinity, Infinity, Infinity], [-Infinity, -Infinity, -Infinity]];
  for (let at = 0; at < positions.length; at++) {
    const axis = at % 3;
    if (positions[at] < low[axis]) low[axis] = positions[at];
    if (positions[at] > high[axis]) high[axis] = positions[at];
  }
  const side = Math.max(high[0] - low[0], high[1] - low[1], high[2] - low[2]) / cells || 1;
  const patches = 16;
  const first = new Map();
  const kept = new Uint32Array(positions.length / 3);
  for (let vertex = 0; vertex < kept.length; vertex++) {
    let key = 0;
    for (let axis = 0; axis < 3; axis++) key = key * (cells + 1) + Math.floor((positions[3 * vertex + axis] - low[axis]) / side);
    if (uvs) key = (key * patches + (uvs[2 * vertex] * patches & 15)) * patches + (uvs[2 * vertex + 1] * patches & 15);
    const known = first.get(key);
    if (known === undefined) first.set(key, vertex);
    kept[vertex] = known ?? vertex;
  }
  const faces = new Uint32Array(index.length);
  let count = 0;
  for (let corner = 0; corner < index.length; corner += 3) {
    const [a, b, c] = [kept[index[corner]], kept[index[corner + 1]], kept[index[corner + 2]]];
    if (a === b || b === c || c === a) continue;
    faces[count++] = a;
    faces[count++] = b;
    faces[count++] = c;
  }
  return faces.slice(0, count);
}

// Which connected piece every vertex is of, and the bounds of the pieces: { labels uint32 [V], bounds float32 [P * 6] }.
function findPieces(positions, index, welded) {
  const parent = welded.slice();
  const root = (vertex) => {
    while (parent[vertex] !== vertex) vertex = parent[vertex] = parent[parent[vertex]];
    return vertex;
  };
  for (let corner = 0; corner < index.length; corner += 3) {
    const first = root(index[corner]);
    parent[root(index[corner + 1])] = first;
    parent[root(index[corner + 2])] = root(first);
  }
  const [labels, known, bounds] = [new Uint32Array(parent.length), new Map(), []];
  for (let vertex = 0; vertex < parent.length; vertex++) {
    const of = root(vertex);
    if (!known.has(of)) {
      known.set(of, known.size);
      bounds.push(Infinity, Infinity, Infinity, -Infinity, -Infinity, -Infinity);
    }
    labels[vertex] = known.get(of);
    for (let axis = 0; axis < 3; axis++) {
      const at = 6 * labels[vertex] + axis;
      bounds[at] = Math.min(bounds[at], positions[3 * vertex + axis]);
      bounds[at + 3] = Math.max(bounds[at + 3], positions[3 * vertex + axis]);
    }
  }
  return { labels, bounds: new Float32Array(bounds) };
}

const PROGRAM = `
const findEdges = ${findEdges};
const coarsen = ${coarsen};
const findPieces = ${findPieces};
onmessage = ({ data: { task, positions, uvs, index, drawn, cells } }) => {
  if (task === "coarsen") {
    const faces = coarsen(positions, uvs, index, cells);
    return postMessage(faces, [faces.buffer]);
  }
  const found = findEdges(positions, index);
  if (task === "pieces") return postMessage(findPieces(positions, index, found.welded));
  const { lines } = drawn ? findEdges(positions, drawn) : found;
  postMessage({ lines, unpaired: found.unpaired }, [lines.buffer]);
};`;

// All of it, without holding the page up; what they take is handed over and gone here.
export const findEdgesAside = (given) => aside({ task: "edges", ...given });
export const coarsenAside = (given) => aside({ task: "coarsen", ...given });
export const piecesAside = (given) => aside({ task: "pieces", ...given });

function aside(order) {
  const address = URL.createObjectURL(new Blob([PROGRAM], { type: "text/javascript" }));
  const worker = new Worker(address);
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(order, Object.values(order).filter((value) => ArrayBuffer.isView(value)).map(({ buffer }) => buffer));
  }).finally(() => {
    worker.terminate();
    URL.revokeObjectURL(address);
  });
}
