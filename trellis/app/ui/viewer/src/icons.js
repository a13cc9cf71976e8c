// Drawings of 20 x 20 for the buttons, in the colour of the text.
const BALL = '<circle cx="10" cy="10" r="7"/>';
const DRAWINGS = {
  textured: `${BALL}<path fill="currentColor" stroke="none" d="M10 3a7 7 0 0 1 7 7h-7zM10 17a7 7 0 0 1-7-7h7z"/>`,
  clay: `${BALL}<path fill="currentColor" stroke="none" opacity=".45" d="M15 5a7 7 0 1 1-10 10c6 1 11-4 10-10z"/>`,
  wireframe: `${BALL}<ellipse cx="10" cy="10" rx="3" ry="7"/><path d="M3.6 7.5h12.8M3.6 12.5h12.8"/>`,
  normals: '<path d="M8 12V3M8 12h9M8 12l-5 5M6 5l2-2 2 2M15 10l2 2-2 2M3 14v3h3"/>',
  uv: `<rect x="3" y="3" width="14" height="14" rx="1"/>
    <path fill="currentColor" stroke="none" d="M3 3h4.7v4.7H3zM12.3 3H17v4.7h-4.7zM7.7 7.7h4.6v4.6H7.7zM3 12.3h4.7V17H3zM12.3 12.3H17V17h-4.7z"/>`,
  gaussians: `<g fill="currentColor" stroke="none"><ellipse cx="7" cy="8" rx="4" ry="2.6" transform="rotate(-30 7 8)" opacity=".55"/>
    <ellipse cx="12.6" cy="11.5" rx="4.4" ry="2.8" transform="rotate(40 12.6 11.5)" opacity=".8"/><circle cx="14" cy="5" r="1.6" opacity=".6"/>
    <circle cx="6" cy="14.5" r="2"/></g>`,
  light: '<circle cx="10" cy="10" r="3.2"/><path d="M10 2v2M10 16v2M2 10h2M16 10h2M4.3 4.3l1.4 1.4M14.3 14.3l1.4 1.4M15.7 4.3l-1.4 1.4M5.7 14.3l-1.4 1.4"/>',
  grid: '<path d="M6 5h8l4 10H2zM10 5v10M4.2 9.5h11.6M8 5l-2 10M12 5l2 10"/>',
  rotate: '<path d="M16.5 8A7 7 0 0 0 4 7M3.5 12A7 7 0 0 0 16 13"/><path d="M4 3v4h4M16 17v-4h-4"/>',
  compare: '<rect x="2.5" y="4" width="15" height="12" rx="1.5"/><path fill="currentColor" stroke="none" opacity=".5" d="M3 4.5h7v11H3z"/><path d="M10 2v16"/>',
  before: '<path d="M10 2v16M7.5 6.5L4 10l3.5 3.5M12.5 6.5L16 10l-3.5 3.5"/>',
  picture: '<path d="M3 6.5h3l1.5-2h5l1.5 2h3v9H3z"/><circle cx="10" cy="10.8" r="2.7"/>',
  reset: '<path d="M3 10l7-6.5 7 6.5M5 8.5V16h10V8.5"/>',
  fullscreen: '<path d="M3 7.5V3h4.5M12.5 3H17v4.5M17 12.5V17h-4.5M7.5 17H3v-4.5"/>',
  keys: '<rect x="2" y="5" width="16" height="10" rx="1.5"/><path d="M5 8h.5M8.2 8h.5M11.4 8h.5M14.5 8h.5M6.5 12h7"/>',
};

export function icon(name) {
  return `<svg viewBox="0 0 20 20" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.4"
    stroke-linecap="round" stroke-linejoin="round">${DRAWINGS[name]}</svg>`;
}
