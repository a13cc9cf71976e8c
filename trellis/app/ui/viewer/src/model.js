// What a GLB or a Gaussian PLY holds, and the facts of it.
import { SplatMesh } from "@sparkjsdev/spark";
import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { thinned } from "./gaussians.js";
import { coarsenAside, findEdgesAside } from "./topology.js";

// What a machine without a graphics card draws at most, a few times a second.
const MOST_FACES = 120_000;
const MOST_GAUSSIANS = 15_000;
const SILENCE = 60_000; // milliseconds without a byte
const COARSE_CELLS = 96; // along the longest side

// The bytes of a file; onShare hears which part of them is here. A server that falls silent is given up.
export async function fetchBytes(address, onShare) {
  const loader = new THREE.FileLoader().setResponseType("arraybuffer");
  let silence = setTimeout(() => loader.abort(), SILENCE);
  try {
    return await loader.loadAsync(address, ({ loaded, total }) => {
      clearTimeout(silence);
      silence = setTimeout(() => loader.abort(), SILENCE);
      if (total) onShare(loaded / total);
    });
  } finally {
    clearTimeout(silence);
  }
}

// A textured mesh: { root, parts, facts, box, camera }. `camera` is where the input picture was taken from, or null.
// `slow` says that there is no graphics card: a large mesh is then drawn coarser than it is.
export async function readMesh(bytes, slow) {
  const { scene: root } = await new GLTFLoader().parseAsync(bytes, "");
  const parts = [];
  let camera = null;
  root.updateMatrixWorld(true);
  root.traverse((node) => {
    if (node.isMesh) parts.push(node);
    if (node.userData.picture_camera) camera = pictureCamera(node);
  });
  for (const part of parts) if (!part.geometry.index) part.geometry.setIndex([...Array(count(part, "position")).keys()]);
  const box = new THREE.Box3().setFromObject(root);
  const faces = sum(parts, (part) => part.geometry.index.count / 3);
  const coarse = slow && faces > MOST_FACES;
  if (coarse) for (const part of parts) await drawCoarsely(part);
  const map = parts[0]?.material.map?.image;
  const facts = {
    faces,
    coarse,
    vertices: sum(parts, (part) => count(part, "position")),
    texture: map ? [map.width, map.height] : null,
    bytes: bytes.byteLength,
    size: box.getSize(new THREE.Vector3()).toArray(),
  };
  return { root, parts, box, camera, facts };
}

async function drawCoarsely(part) {
  const { position, uv } = part.geometry.attributes;
  const [positions, index] = [new Float32Array(position.array), new Uint32Array(part.geometry.index.array)];
  const drawn = await coarsenAside({ positions, uvs: uv && new Float32Array(uv.array), index, cells: COARSE_CELLS });
  part.userData.every = part.geometry.index;
  part.geometry.setIndex(new THREE.BufferAttribute(drawn, 1));
}

// Adds the edges of a mesh to its parts (`part.userData.lines`) and returns how many are not shared by two faces.
export async function addEdges({ parts }) {
  let unpaired = 0;
  for (const part of parts) {
    const { geometry, userData } = part;
    const positions = new Float32Array(geometry.attributes.position.array);
    const index = new Uint32Array((userData.every ?? geometry.index).array);
    const drawn = userData.every && new Uint32Array(geometry.index.array);
    const found = await findEdgesAside({ positions, index, drawn });
    userData.lines = found.lines;
    unpaired += found.unpaired;
  }
  return unpaired;
}

export async function readGaussians(bytes, slow) {
  const { drawn, count } = thinned(bytes, slow ? MOST_GAUSSIANS : Infinity);
  const facts = { gaussians: count, coarse: drawn !== bytes, bytes: bytes.byteLength };
  const root = new SplatMesh({ fileBytes: drawn, fileName: "asset.ply" });
  await root.initialized;
  root.rotation.x = Math.PI; // Gaussian files are y-down
  root.updateMatrixWorld(true);
  const box = root.getBoundingBox(true).applyMatrix4(root.matrixWorld);
  facts.size = box.getSize(new THREE.Vector3()).toArray();
  return { root, parts: [], box, camera: null, facts };
}

// Frees what the graphics card holds of a model.
export function release({ root }) {
  root.dispose?.();
  root.traverse((part) => {
    part.geometry?.dispose();
    for (const material of [part.userData.own, part.material].flat().filter(Boolean)) {
      for (const value of Object.values(material)) if (value?.isTexture) value.dispose();
      material.dispose();
    }
  });
}

// The camera that an export keeps in the extras of a node: `matrix` (column by column, to the node, looking along -z)
// and `intrinsics` (focal lengths and centre in sides of the square picture, from its top left).
function pictureCamera(node) {
  const { matrix, intrinsics } = node.userData.picture_camera;
  return { matrix: new THREE.Matrix4().fromArray(matrix).premultiply(node.matrixWorld), intrinsics };
}

function count(part, name) {
  return part.geometry.attributes[name].count;
}

function sum(items, value) {
  return items.reduce((total, item) => total + value(item), 0);
}
