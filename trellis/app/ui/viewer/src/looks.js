// How a mesh is drawn in each mode, and the light on it.
import * as THREE from "three";
import { RoomEnvironment } from "three/addons/environments/RoomEnvironment.js";
import { tinted } from "./tint.js";

const STUDIO = 0.72; // a white matt surface facing the light comes out just below white
const STUDIO_SIZE = 64; // pixels a side of the room: with 256 a page without a graphics card opens 12 s later, for 2/255 of difference
const CLAY = 0xb9b2a8;
const LINES = 0x10151d;

// The lights of the three settings. Neutral has none on a textured surface, whose colours are then those of its texture;
// what has no colours of its own is lit from the camera.
export class Lights {
  constructor(renderer, scene, camera) {
    this.scene = scene;
    this.furnish(renderer);
    this.head = new THREE.DirectionalLight(0xffffff, 2.2);
    this.head.position.set(0.3, 0.4, 1);
    camera.add(this.head, this.head.target);
    this.fill = new THREE.AmbientLight(0xffffff, 0.9);
    this.sun = new THREE.DirectionalLight(0xfff1dc, 3.4);
    this.sky = new THREE.HemisphereLight(0xcfe2ff, 0x6b5f55, 1.1);
    scene.add(this.fill, this.sun, this.sky);
  }

  // Draws the studio, which is nowhere but in the graphics card.
  furnish(renderer) {
    const filter = new THREE.PMREMGenerator(renderer);
    this.studio = filter.fromScene(new RoomEnvironment(), 0.04, 0.1, 100, { size: STUDIO_SIZE }).texture;
    filter.dispose();
  }

  // angle: degrees about the vertical axis.
  set(name, angle) {
    const turn = THREE.MathUtils.degToRad(angle);
    this.scene.environment = name === "studio" ? this.studio : null;
    this.scene.environmentIntensity = STUDIO;
    this.scene.environmentRotation.set(0, turn, 0);
    this.head.visible = this.fill.visible = name === "neutral";
    this.sun.visible = this.sky.visible = name === "sun";
    this.sun.position.set(Math.sin(turn + 0.8), 0.9, Math.cos(turn + 0.8));
  }
}

// The materials of a mesh's parts in one mode; made when first asked for and kept with the part.
export function dress(parts, mode, light, exposure) {
  for (const part of parts) {
    part.userData.own ??= part.material;
    const flat = light === "neutral" && (mode === "textured" || mode === "uv");
    const name = mode === "wireframe" ? "clay" : `${mode}${flat ? "-flat" : ""}`;
    part.userData.looks ??= {};
    part.material = part.userData.looks[name] ??= tinted(material(name, part.userData.own));
    if (flat) part.material.color.setScalar(exposure); // it is not tone mapped
    showLines(part, mode === "wireframe");
  }
}

function material(name, own) {
  const { side, normalMap } = own;
  const relief = { side, normalMap, normalScale: own.normalScale };
  switch (name) {
    case "textured":
      return own;
    case "textured-flat":
      return new THREE.MeshBasicMaterial({ map: own.map, vertexColors: own.vertexColors, side, toneMapped: false });
    case "normals":
      return new THREE.MeshNormalMaterial(relief);
    case "uv":
      return new THREE.MeshStandardMaterial({ map: checker(), roughness: 0.9, side });
    case "uv-flat":
      return new THREE.MeshBasicMaterial({ map: checker(), side, toneMapped: false });
    default: // pushed back a little, so that lines lie on it
      return new THREE.MeshStandardMaterial({
        ...relief, color: CLAY, roughness: 0.85, polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1,
      });
  }
}

function showLines(part, wanted) {
  const { lines } = part.userData;
  let drawn = part.getObjectByName("lines");
  if (wanted && lines && !drawn) {
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", part.geometry.attributes.position);
    geometry.setIndex(new THREE.BufferAttribute(lines, 1));
    drawn = new THREE.LineSegments(
      geometry, new THREE.LineBasicMaterial({ color: LINES, transparent: true, opacity: 0.75, toneMapped: false }),
    );
    drawn.name = "lines";
    part.add(drawn);
  }
  if (drawn) drawn.visible = wanted;
}

// Squares whose hue and brightness tell where in the texture they lie.
function checker() {
  const cells = 16;
  const canvas = Object.assign(document.createElement("canvas"), { width: 1024, height: 1024 });
  const pen = canvas.getContext("2d");
  const side = canvas.width / cells;
  pen.font = `600 ${side * 0.34}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  for (let row = 0; row < cells; row++) {
    for (let column = 0; column < cells; column++) {
      const light = (row + column) % 2 ? 78 : 56;
      pen.fillStyle = `hsl(${(360 * column) / cells} ${30 + (40 * row) / cells}% ${light}%)`;
      pen.fillRect(column * side, row * side, side, side);
      pen.fillStyle = "rgb(0 0 0 / 55%)";
      pen.fillText(`${String.fromCharCode(65 + column)}${row + 1}`, (column + 0.5) * side, (row + 0.52) * side);
    }
  }
  const texture = new THREE.CanvasTexture(canvas);
  texture.colorSpace = THREE.SRGBColorSpace;
  texture.wrapS = texture.wrapT = THREE.RepeatWrapping;
  texture.flipY = false;
  texture.anisotropy = 8;
  return texture;
}
