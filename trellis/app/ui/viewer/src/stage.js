// One model, one light, one camera. Frames are drawn only when something changed.
import { SparkRenderer, SplatMesh } from "@sparkjsdev/spark";
import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { RoomEnvironment } from "three/addons/environments/RoomEnvironment.js";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

const MAX_PIXEL_RATIO = 2;
const VIEW_DIRECTION = new THREE.Vector3(0.45, 0.35, 1).normalize(); // a GLB's front looks along +z
const MODEL_RADIUS = 0.75; // assets fill the unit cube around the origin; half its diagonal is 0.87

export class Stage {
  constructor(canvas, { onGrab }) {
    this.canvas = canvas;
    this.renderer = new THREE.WebGLRenderer({ canvas, alpha: true, antialias: true });
    this.renderer.toneMapping = THREE.NeutralToneMapping;
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(35, 1, 0.01, 50);
    this.loader = new GLTFLoader();
    this.model = null;
    this.exposure = 1;
    this.visible = true;
    this.scheduled = false;
    this.lastFrame = 0;

    const filter = new THREE.PMREMGenerator(this.renderer);
    this.scene.environment = filter.fromScene(new RoomEnvironment(), 0.04).texture;
    this.scene.environmentIntensity = 0.72; // a white matt surface facing the light comes out just below white
    filter.dispose();

    this.spark = new SparkRenderer({ renderer: this.renderer, onDirty: () => this.redraw() });
    this.scene.add(this.spark);

    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enableDamping = true;
    this.controls.enablePan = false;
    this.controls.minDistance = 0.5;
    this.controls.maxDistance = 8;
    this.controls.autoRotateSpeed = 1.5;
    this.controls.addEventListener("change", () => this.redraw());
    this.controls.addEventListener("start", onGrab);

    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      this.redraw();
    }).observe(canvas);
    this.resetView();
  }

  async showMesh(address, wanted) {
    const { scene } = await this.loader.loadAsync(address);
    if (wanted()) this.replaceModel(scene);
    else release(scene);
  }

  async showGaussians(address, wanted) {
    const splats = new SplatMesh({ url: new URL(address, document.baseURI).href });
    await splats.initialized;
    splats.rotation.x = Math.PI; // Gaussian files are y-down
    if (wanted()) this.replaceModel(splats);
    else release(splats);
  }

  replaceModel(model) {
    this.clear();
    this.model = model;
    this.scene.add(model);
    this.setExposure(this.exposure);
  }

  clear() {
    if (this.model) {
      this.scene.remove(this.model);
      release(this.model);
      this.model = null;
    }
    this.redraw();
  }

  setExposure(value) {
    this.exposure = value;
    this.renderer.toneMappingExposure = value;
    if (this.model instanceof SplatMesh) {
      this.model.recolor.setScalar(value); // splats carry final colours and are not tone mapped
      this.model.updateVersion();
    }
    this.redraw();
  }

  setRotating(on) {
    this.controls.autoRotate = on;
    this.redraw();
  }

  resetView() {
    const halfAngle = THREE.MathUtils.degToRad(this.camera.fov / 2);
    const fit = MODEL_RADIUS / Math.sin(halfAngle) / Math.min(1, this.camera.aspect);
    this.camera.position.copy(VIEW_DIRECTION).multiplyScalar(fit);
    this.controls.target.set(0, 0, 0);
    this.controls.update();
    this.redraw();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, MAX_PIXEL_RATIO));
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.redraw();
  }

  redraw() {
    if (this.scheduled || !this.visible) return;
    this.scheduled = true;
    requestAnimationFrame((now) => this.draw(now));
  }

  draw(now) {
    this.scheduled = false;
    const seconds = Math.min((now - this.lastFrame) / 1000, 0.1);
    this.lastFrame = now;
    const moved = this.controls.update(seconds);
    this.renderer.render(this.scene, this.camera);
    if (moved || (this.controls.autoRotate && this.model)) this.redraw();
  }
}

// Frees what the graphics card holds of a model.
function release(model) {
  model.dispose?.();
  model.traverse((part) => {
    part.geometry?.dispose();
    for (const material of [part.material].flat().filter(Boolean)) {
      for (const value of Object.values(material)) if (value?.isTexture) value.dispose();
      material.dispose();
    }
  });
}
