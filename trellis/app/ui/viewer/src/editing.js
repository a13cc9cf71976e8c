// What an edit of the model that is shown needs of the viewer: boxes with handles, the piece under a click, and a view
// to paint over. Boxes are [[x, y, z], [x, y, z]] in the frame of the GLB.
import * as THREE from "three";
import { TransformControls } from "three/addons/controls/TransformControls.js";
import { piecesAside } from "./topology.js";

const MARK = 0xf97316;
const SMALLEST = 0.01; // of the model's size
const CLICK = 5; // pixels that a click may move

export class Boxes {
  // onChange hears the boxes, and which one is chosen, after every change by hand.
  constructor(stage, onChange) {
    this.stage = stage;
    this.onChange = onChange;
    this.drawn = [];
    this.chosen = -1;
    this.handles = new TransformControls(stage.camera, stage.canvas);
    this.handles.addEventListener("change", () => stage.redraw());
    this.handles.addEventListener("dragging-changed", ({ value }) => {
      stage.controls.enabled = !value;
    });
    this.handles.addEventListener("objectChange", () => this.onChange(this.values(), this.chosen));
    stage.canvas.addEventListener("pointerdown", (event) => (this.down = [event.clientX, event.clientY]));
    stage.canvas.addEventListener("click", (event) => this.click(event));
  }

  // Show these boxes with the handles on one of them; null ends it.
  set(boxes, chosen = 0) {
    this.active = boxes !== null;
    const { marks } = this.stage;
    for (const box of this.drawn) {
      marks.remove(box);
      box.children[0].geometry.dispose();
    }
    this.drawn = (boxes ?? []).map(drawnBox);
    for (const box of this.drawn) marks.add(box);
    this.place(boxes ?? []);
    this.choose(Math.min(chosen, this.drawn.length - 1));
  }

  place(boxes) {
    boxes.forEach(([low, high], index) => {
      const box = this.drawn[index];
      box.position.set(...low.map((value, axis) => (value + high[axis]) / 2));
      box.scale.set(...low.map((value, axis) => high[axis] - value));
    });
    this.stage.redraw();
  }

  choose(index) {
    this.chosen = index;
    const helper = this.handles.getHelper();
    if (this.active && this.drawn[index]) {
      this.handles.attach(this.drawn[index]);
      this.stage.marks.add(helper);
    } else {
      this.handles.detach();
      this.stage.marks.remove(helper);
    }
    this.stage.redraw();
  }

  // What the handles do: "translate" or "scale".
  setHandles(mode) {
    this.handles.setMode(mode);
    this.stage.redraw();
  }

  values() {
    return this.drawn.map(({ position, scale }) => {
      const [middle, side] = [position.toArray(), scale.toArray().map((value) => Math.max(Math.abs(value), SMALLEST))];
      return [-0.5, 0.5].map((part) => middle.map((value, axis) => Number((value + part * side[axis]).toFixed(4))));
    });
  }

  // A click makes the box that is chosen the bounds of the connected piece under it, or, where all is one piece, a cube
  // about the place.
  async click({ clientX, clientY }) {
    const { stage } = this;
    const moved = this.down && Math.hypot(clientX - this.down[0], clientY - this.down[1]) > CLICK;
    if (!this.active || moved || this.chosen < 0 || this.handles.dragging || !stage.models.mesh) return;
    const { left, top, width, height } = stage.canvas.getBoundingClientRect();
    const at = new THREE.Vector2((2 * (clientX - left)) / width - 1, 1 - (2 * (clientY - top)) / height);
    const ray = new THREE.Raycaster();
    ray.setFromCamera(at, stage.camera);
    const [hit] = ray.intersectObjects(stage.models.mesh.parts, false);
    if (!hit) return;
    const whole = stage.models.mesh.box;
    const piece = await pieceBounds(hit);
    const reach = whole.getSize(new THREE.Vector3()).length();
    const all = piece.getSize(new THREE.Vector3()).length() > 0.95 * reach;
    if (all) piece.setFromCenterAndSize(hit.point, new THREE.Vector3().setScalar(0.2 * reach));
    else piece.expandByScalar(SMALLEST * reach);
    const boxes = this.values();
    boxes[this.chosen] = [piece.min.toArray(), piece.max.toArray()];
    this.place(boxes);
    this.onChange(this.values(), this.chosen);
  }
}

function drawnBox() {
  const shape = new THREE.BoxGeometry();
  const seen = { color: MARK, transparent: true, depthWrite: false, toneMapped: false };
  const box = new THREE.Mesh(shape, new THREE.MeshBasicMaterial({ ...seen, opacity: 0.22 }));
  box.add(new THREE.LineSegments(new THREE.EdgesGeometry(shape), new THREE.LineBasicMaterial({ ...seen, opacity: 1 })));
  return box;
}

async function pieceBounds({ object, face }) {
  const { position } = object.geometry.attributes;
  const every = object.userData.every ?? object.geometry.index;
  object.userData.pieces ??= piecesAside({ positions: new Float32Array(position.array), index: new Uint32Array(every.array) });
  const { labels, bounds } = await object.userData.pieces;
  const [low, high] = [bounds.slice(6 * labels[face.a], 6 * labels[face.a] + 3), bounds.slice(6 * labels[face.a] + 3, 6 * labels[face.a] + 6)];
  return new THREE.Box3(new THREE.Vector3(...low), new THREE.Vector3(...high)).applyMatrix4(object.matrixWorld);
}

// What the camera sees now as a square picture on nothing, and its frame: { blob, view }, the view as `PictureView` of
// the program takes it (world z up, camera y down, everything in sides of the crop).
export async function takeView(stage, size = 1024) {
  const camera = stage.camera.clone();
  camera.aspect = 1;
  camera.updateProjectionMatrix();
  const before = stage.look;
  stage.setLook({ light: "neutral", grid: false, mode: "textured" });
  stage.renderer.setPixelRatio(1);
  stage.renderer.setSize(size, size, false);
  stage.marks.visible = false;
  stage.renderer.render(stage.scene, camera);
  stage.marks.visible = true;
  const taken = new Promise((resolve) => stage.canvas.toBlob(resolve, "image/png"));
  stage.setLook(before);
  stage.resize();
  const blob = await taken;
  const [left, top, side] = await framed(blob, size);
  const scale = size / side;
  const focal = (0.5 / Math.tan(THREE.MathUtils.degToRad(camera.fov / 2))) * scale;
  const turned = new THREE.Matrix4().set(1, 0, 0, 0, 0, 0, 1, 0, 0, -1, 0, 0, 0, 0, 0, 1); // z up to y up
  const outer = new THREE.Matrix4().makeScale(1, -1, -1).multiply(camera.matrixWorldInverse).multiply(turned).transpose().toArray();
  const inner = [[focal, 0, (size / 2 - left) / side], [0, focal, (size / 2 - top) / side], [0, 0, 1]];
  const extrinsics = [0, 4, 8, 12].map((row) => outer.slice(row, row + 4));
  return { blob, view: { size: [size, size], box: [left, top, left + side, top + side], camera: { extrinsics, intrinsics: inner } } };
}

// The square about what is opaque in a picture, 1.2 times as large: left, top, side.
async function framed(blob, size) {
  const pen = Object.assign(document.createElement("canvas"), { width: size, height: size }).getContext("2d");
  pen.drawImage(await createImageBitmap(blob), 0, 0);
  const { data } = pen.getImageData(0, 0, size, size);
  let [left, top, right, bottom] = [size, size, 0, 0];
  for (let at = 3; at < data.length; at += 4) {
    if (data[at] <= 204) continue;
    const [x, y] = [(at >> 2) % size, Math.floor((at >> 2) / size)];
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  if (right < left) return [0, 0, size];
  const half = Math.floor(0.6 * Math.max(right - left, bottom - top));
  return [Math.round((left + right) / 2 - half), Math.round((top + bottom) / 2 - half), Math.max(2 * half, 1)];
}
