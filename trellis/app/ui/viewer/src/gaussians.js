// Fewer Gaussians of a PLY, each as much larger as there are fewer: { drawn: bytes of a PLY, count: how many the file has }.
export function thinned(bytes, most) {
  const text = new TextDecoder("latin1").decode(new Uint8Array(bytes, 0, Math.min(bytes.byteLength, 8192)));
  const end = text.indexOf("end_header\n") + "end_header\n".length;
  const header = text.slice(0, end);
  const count = Number(/element vertex (\d+)/.exec(header)?.[1]);
  const names = [...header.matchAll(/property float (\w+)/g)].map(([, name]) => name);
  const step = Math.ceil(count / most);
  if (!(step > 1)) return { drawn: bytes, count };
  const size = 4 * names.length;
  const kept = Math.floor(count / step);
  const start = new TextEncoder().encode(header.replace(/element vertex \d+/, `element vertex ${kept}`));
  const drawn = new Uint8Array(start.length + kept * size);
  drawn.set(start);
  const values = new DataView(drawn.buffer);
  const scales = names.flatMap((name, at) => (name.startsWith("scale_") ? [4 * at] : []));
  for (let row = 0; row < kept; row++) {
    const at = start.length + row * size;
    drawn.set(new Uint8Array(bytes, end + row * step * size, size), at);
    for (const scale of scales) values.setFloat32(at + scale, values.getFloat32(at + scale, true) + 0.5 * Math.log(step), true);
  }
  return { drawn: drawn.buffer, count };
}
