// What a GLB or a Gaussian PLY holds, and the facts of it.
import { SplatMesh } from "@sparkjsdev/spark";
import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { findEdgesAside } from "./topology.js";

// The bytes of a file; onShare hears which part of them is here.
export function fetchBytes(address, onShare) {
  const loader = new THREE.FileLoader().setResponseType("arraybuffer");
  return loader.loadAsync(address, ({ loaded, total }) => total && onShare(loaded / total));
}

// A textured mesh: { root, parts, facts, box, camera }. `camera` is where the input picture was taken from, or null.
export async function readMesh(bytes) {
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
  const map = parts[0]?.material.map?.image;
  const facts = {
    faces: sum(parts, (part) => part.geometry.index.count / 3),
    vertices: sum(parts, (part) => count(part, "position")),
    texture: map ? [map.width, map.height] : null,
    bytes: bytes.byteLength,
    size: box.getSize(new THREE.Vector3()).toArray(),
  };
  return { root, parts, box, camera, facts };
}

// Adds the edges of a mesh to its parts (`part.userData.lines`) and returns how many are not shared by two faces.
export async function addEdges({ parts }) {
  let unpaired = 0;
  for (const part of parts) {
    const { position, index } = { ...part.geometry.attributes, index: part.geometry.index };
    const found = await findEdgesAside(new Float32Array(position.array), new Uint32Array(index.array));
    part.userData.lines = found.lines;
    unpaired += found.unpaired;
  }
  return unpaired;
}

export async function readGaussians(bytes) {
  const facts = { gaussians: 0, bytes: bytes.byteLength };
  const root = new SplatMesh({ fileBytes: bytes, fileName: "asset.ply" });
  await root.initialized;
  root.rotation.x = Math.PI; // Gaussian files are y-down
  root.updateMatrixWorld(true);
  const box = root.getBoundingBox(true).applyMatrix4(root.matrixWorld);
  facts.gaussians = root.numSplats;
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
