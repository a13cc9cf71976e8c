// One model, one light, one camera. Frames are drawn only when something changed.
import { SparkRenderer } from "@sparkjsdev/spark";
import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { dress, Lights } from "./looks.js";
import { release } from "./model.js";
import { untinted } from "./tint.js";

const MAX_PIXEL_RATIO = 2;
const VIEW_DIRECTION = new THREE.Vector3(0.45, 0.35, 1).normalize(); // a GLB's front looks along +z
const SLOW_FRAME = 0.12; // seconds; drawn coarser while it moves
const TOO_SLOW_FRAME = 0.4; // nothing turns by itself then
const SOFTWARE = /swiftshader|llvmpipe|softpipe|basic render/i; // they draw on the processor
const SETTLED = 250; // milliseconds without a move

export class Stage {
  constructor(canvas, { onGrab, onTooSlow, onLost, onBack }) {
    this.canvas = canvas;
    this.slow = drawsOnProcessor();
    this.renderer = new THREE.WebGLRenderer({ canvas, alpha: true, antialias: !this.slow });
    this.renderer.toneMapping = THREE.NeutralToneMapping;
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(35, 1, 0.01, 50);
    this.scene.add(this.camera);
    this.pictureCamera = Object.assign(new THREE.PerspectiveCamera(), { matrixAutoUpdate: false });
    this.lights = new Lights(this.renderer, this.scene, this.camera);

    this.marks = new THREE.Group(); // what is no part of the model, and not in its pictures
    this.scene.add(this.marks);
    this.models = {}; // by kind: mesh, gaussians
    this.look = { mode: "textured", light: "studio", angle: 0, exposure: 1, grid: false };
    this.before = null;
    this.split = null;
    this.comparing = false;
    this.visible = true;
    this.scheduled = false;
    this.lastFrame = 0;
    this.pace = 0; // mean seconds between frames while something moves
    this.coarse = 1;
    this.onTooSlow = onTooSlow;

    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enableDamping = true;
    this.controls.zoomToCursor = true;
    this.controls.autoRotateSpeed = 1.5;
    this.controls.addEventListener("change", () => this.redraw());
    this.controls.addEventListener("start", onGrab);

    canvas.addEventListener("webglcontextlost", onLost);
    canvas.addEventListener("webglcontextrestored", () => {
      this.needSpark(false);
      this.spark = undefined;
      this.lights.furnish(this.renderer);
      onBack();
    });
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      this.redraw();
    }).observe(canvas);
    this.resetView();
  }

  // A model of one kind in place of the former; null: none.
  put(kind, model) {
    const former = this.models[kind];
    if (former) {
      this.scene.remove(former.root);
      release(former);
    }
    this.models[kind] = model;
    if (model) this.scene.add(model.root);
    if (kind === "gaussians") this.needSpark(Boolean(model));
    this.apply();
  }

  // What draws Gaussians reads pixels back in every frame, so it is there for them alone.
  needSpark(wanted) {
    const extent = Math.sqrt(this.slow ? 5 : 8); // of a Gaussian, in standard deviations
    if (wanted)
      this.spark ??= new SparkRenderer({ renderer: this.renderer, maxStdDev: extent, onDirty: () => this.redraw() });
    if (this.spark) this.spark.visible = wanted;
    if (wanted) this.scene.add(this.spark);
    else if (this.spark) this.scene.remove(this.spark);
  }

  // The mesh that the shown one was made from.
  putBefore(model) {
    if (this.before) {
      this.scene.remove(this.before.root);
      release(this.before);
    }
    this.before = model;
    if (model) this.scene.add(model.root);
    this.split = null;
    this.apply();
  }

  // Show the mesh before up to this share of the width, and the one after from there on; null: that alone.
  setSplit(share) {
    this.split = this.before ? share : null;
    this.redraw();
  }

  render(camera) {
    if (this.before) this.before.root.visible = false;
    if (this.split === null || !this.before || !this.shown) this.renderer.render(this.scene, camera);
    else this.bare(() => this.renderDivided(camera)); // the marks of a region would hide what became of it
  }

  renderDivided(camera) {
    this.renderer.render(this.scene, camera);
    const { width, height } = this.renderer.getSize(new THREE.Vector2());
    this.before.root.visible = true;
    this.shown.root.visible = false;
    this.renderer.setScissorTest(true);
    this.renderer.setScissor(0, 0, this.split * width, height);
    this.renderer.render(this.scene, camera);
    this.renderer.setScissorTest(false);
    this.shown.root.visible = true;
  }

  clear() {
    this.putBefore(null);
    for (const kind of Object.keys(this.models)) this.put(kind, null);
    this.showGrid();
  }

  get shown() {
    return this.models[this.look.mode === "gaussians" ? "gaussians" : "mesh"];
  }

  setLook(change) {
    this.look = { ...this.look, ...change };
    this.apply();
  }

  apply() {
    const { mode, light, angle, exposure } = this.look;
    this.lights.set(light, angle);
    this.renderer.toneMappingExposure = exposure;
    for (const model of Object.values(this.models)) if (model) model.root.visible = model === this.shown;
    if (mode === "gaussians" && this.models.gaussians) {
      const { root } = this.models.gaussians;
      root.recolor.setScalar(exposure); // splats carry final colours and are not tone mapped
      root.updateVersion();
    } else if (this.shown) for (const model of [this.shown, this.before]) if (model) dress(model.parts, mode, light, exposure);
    this.showGrid();
    this.redraw();
  }

  // The floor under the model; `gridStep` is the side of a square in metres.
  showGrid() {
    if (this.grid) {
      this.scene.remove(this.grid);
      this.grid.geometry.dispose();
      this.grid.material.dispose();
      this.grid = null;
    }
    const box = this.shown?.box;
    if (!box || !this.look.grid) return;
    const size = box.getSize(new THREE.Vector3());
    this.gridStep = roundStep(Math.max(size.x, size.z, 1e-6) / 8);
    const squares = 2 * Math.ceil((0.75 * Math.max(size.x, size.z)) / this.gridStep);
    this.grid = new THREE.GridHelper(squares * this.gridStep, squares, 0x0d9488, 0x7c8797);
    this.grid.material.transparent = true;
    this.grid.material.opacity = 0.7;
    this.grid.material.toneMapped = false;
    const middle = box.getCenter(new THREE.Vector3());
    this.grid.position.set(middle.x, box.min.y - 1e-3 * size.y, middle.z);
    this.scene.add(this.grid);
  }

  setRotating(on) {
    this.controls.autoRotate = on;
    this.redraw();
  }

  resetView() {
    const box = this.shown?.box ?? new THREE.Box3(new THREE.Vector3(-0.5, -0.5, -0.5), new THREE.Vector3(0.5, 0.5, 0.5));
    const radius = 0.5 * Math.max(box.getSize(new THREE.Vector3()).length(), 1e-6);
    const halfAngle = THREE.MathUtils.degToRad(this.camera.fov / 2);
    const fit = (1.12 * radius) / Math.sin(halfAngle) / Math.min(1, this.camera.aspect);
    this.radius = radius;
    this.camera.near = 0.01 * radius;
    this.camera.far = 60 * radius;
    this.camera.updateProjectionMatrix();
    this.controls.minDistance = 0.3 * radius;
    this.controls.maxDistance = 12 * radius;
    box.getCenter(this.controls.target);
    this.camera.position.copy(VIEW_DIRECTION).multiplyScalar(fit).add(this.controls.target);
    this.controls.update();
    this.redraw();
  }

  // By keys: angles in radians, shifts in parts of the distance, a factor of the distance.
  turn(yaw, pitch) {
    const offset = this.camera.position.clone().sub(this.controls.target);
    const place = new THREE.Spherical().setFromVector3(offset);
    place.theta += yaw;
    place.phi = THREE.MathUtils.clamp(place.phi + pitch, 0.01, Math.PI - 0.01);
    this.camera.position.setFromSpherical(place).add(this.controls.target);
    this.camera.lookAt(this.controls.target); // what comes before the next frame, a picture or a shift, sees it turned
    this.redraw();
  }

  pan(right, up) {
    const shift = new THREE.Vector3(right, up, 0).applyQuaternion(this.camera.quaternion);
    shift.multiplyScalar(this.camera.position.distanceTo(this.controls.target));
    this.camera.position.add(shift);
    this.controls.target.add(shift);
    this.redraw();
  }

  zoom(factor) {
    this.camera.position.sub(this.controls.target).multiplyScalar(factor).add(this.controls.target);
    this.redraw();
  }

  get picture() {
    return this.models.mesh?.camera ?? null;
  }

  // Look from where the input picture was taken, which lies in the largest square in the middle of the pane.
  setComparing(on) {
    this.comparing = on && this.picture !== null;
    this.controls.enabled = !this.comparing;
    if (this.comparing) this.placePictureCamera();
    this.redraw();
  }

  placePictureCamera() {
    const { matrix, intrinsics: [fx, fy, cx, cy] } = this.picture;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [right, up] = [Math.min(1, height / width), Math.min(1, width / height)];
    const [near, far] = [0.01 * this.radius, 100 * this.radius];
    this.pictureCamera.matrix.copy(matrix);
    this.pictureCamera.matrixWorldNeedsUpdate = true;
    this.pictureCamera.projectionMatrix.set(
      2 * fx * right, 0, (1 - 2 * cx) * right, 0,
      0, 2 * fy * up, (2 * cy - 1) * up, 0,
      0, 0, -(far + near) / (far - near), (-2 * far * near) / (far - near),
      0, 0, -1, 0,
    );
    this.pictureCamera.projectionMatrixInverse.copy(this.pictureCamera.projectionMatrix).invert();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, MAX_PIXEL_RATIO) / this.coarse);
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    if (this.comparing) this.placePictureCamera();
    this.redraw();
  }

  redraw() {
    if (this.scheduled || !this.visible) return;
    this.scheduled = true;
    requestAnimationFrame((now) => this.draw(now));
  }

  draw(now) {
    this.scheduled = false;
    const seconds = (now - this.lastFrame) / 1000;
    this.lastFrame = now;
    const moved = !this.comparing && this.controls.update(Math.min(seconds, 0.1));
    if (moved) this.keepPace(seconds);
    this.render(this.comparing ? this.pictureCamera : this.camera);
    if (moved || (this.controls.autoRotate && this.shown && !this.comparing)) this.redraw();
  }

  // A slow machine draws fewer pixels while something moves, and all of them when it rests.
  keepPace(seconds) {
    if (seconds < 3) this.pace += 0.25 * (seconds - this.pace);
    if ((this.slow || this.pace > SLOW_FRAME) && this.coarse === 1) this.setCoarse(2);
    if (this.pace > TOO_SLOW_FRAME && this.controls.autoRotate) this.onTooSlow();
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.pace = 0;
      this.setCoarse(1);
    }, SETTLED + 2000 * this.pace);
  }

  setCoarse(value) {
    if (this.coarse === value) return;
    this.coarse = value;
    this.resize();
  }

  // Draws without what marks the region of an edit.
  bare(draw) {
    this.marks.visible = false;
    untinted(draw);
    this.marks.visible = true;
  }

  // A PNG of what is shown: without grid, on nothing.
  async takePicture() {
    const grid = this.grid?.visible;
    if (this.grid) this.grid.visible = false;
    this.setCoarse(1);
    this.resize(); // the pane may just have got another size
    this.bare(() => this.render(this.comparing ? this.pictureCamera : this.camera));
    const picture = new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
    if (this.grid) this.grid.visible = grid;
    this.redraw();
    return picture;
  }
}

function drawsOnProcessor() {
  const gl = document.createElement("canvas").getContext("webgl2");
  const names = gl?.getExtension("WEBGL_debug_renderer_info");
  const slow = Boolean(gl) && SOFTWARE.test(gl.getParameter(names?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER));
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return slow;
}

// The nearest of 1, 2, 5 times a power of ten.
function roundStep(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].reduce((best, step) => (Math.abs(step - value / power) < Math.abs(best - value / power) ? step : best));
}
