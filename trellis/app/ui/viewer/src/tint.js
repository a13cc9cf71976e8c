// The surface within the region of an edit is tinted: by a few lines in the shaders of all materials.
import * as THREE from "three";

const MOST_BOXES = 32;
const corners = () => ({ value: Array.from({ length: MOST_BOXES }, () => new THREE.Vector3()) });
const region = { regionCount: { value: 0 }, regionLow: corners(), regionHigh: corners() };
const FRAGMENT = `
  for (int at = 0; at < ${MOST_BOXES}; at++) {
    if (at >= regionCount) break;
    if (all(greaterThanEqual(regionPlace, regionLow[at])) && all(lessThanEqual(regionPlace, regionHigh[at]))) {
      gl_FragColor.rgb = mix(gl_FragColor.rgb, vec3(0.98, 0.45, 0.09) * gl_FragColor.a, 0.35);
      break;
    }
  }
}`;

// Boxes [[x, y, z], [x, y, z]] of the world; none ends it.
export function tint(boxes) {
  region.regionCount.value = Math.min(boxes.length, MOST_BOXES);
  boxes.slice(0, MOST_BOXES).forEach(([low, high], at) => {
    region.regionLow.value[at].set(...low);
    region.regionHigh.value[at].set(...high);
  });
}

// Draws without a tint.
export function untinted(draw) {
  const { value } = region.regionCount;
  region.regionCount.value = 0;
  draw();
  region.regionCount.value = value;
}

// The material, which shows the tint from now on.
export function tinted(material) {
  material.onBeforeCompile = (shader) => {
    Object.assign(shader.uniforms, region);
    shader.vertexShader = `varying vec3 regionPlace;\n${shader.vertexShader}`.replace(
      "#include <project_vertex>", "#include <project_vertex>\nregionPlace = (modelMatrix * vec4(transformed, 1.0)).xyz;",
    );
    const declared = `varying vec3 regionPlace;\nuniform int regionCount;\nuniform vec3 regionLow[${MOST_BOXES}], regionHigh[${MOST_BOXES}];\n`;
    shader.fragmentShader = declared + shader.fragmentShader.replace(/}\s*$/, FRAGMENT);
  };
  return material;
}
