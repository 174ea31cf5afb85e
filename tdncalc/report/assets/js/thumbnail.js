// A small flat drawing of a structure, along its shortest axis.

function thumbnail(canvas, structure, elements) {
  const scale = Math.min(3, devicePixelRatio || 1);
  const width = (canvas.width = 72 * scale), height = (canvas.height = 52 * scale);
  // Drawn once and small: not worth the GPU.
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const n = structure.numbers.length;
  const { center, axes } = principalAxes(structure.positions);
  const radii = structure.numbers.map((z) => elements[z].radius);
  const points = Array.from({ length: n }, (_, i) => {
    const r = minus(at(structure.positions, i), center);
    return axes.map((axis) => dot(axis, r));
  });
  let reach = [0.8, 0.8];
  for (const [x, y] of points) reach = [Math.max(reach[0], Math.abs(x) + 0.5), Math.max(reach[1], Math.abs(y) + 0.5)];
  const zoom = Math.min(width / reach[0], height / reach[1], 20 * scale) / 2.05;
  const place = ([x, y]) => [width / 2 + x * zoom, height / 2 - y * zoom];
  context.lineCap = "round";
  for (const [i, j] of findBonds(structure.positions, radii)) {
    context.strokeStyle = css("--muted");
    context.lineWidth = 0.16 * zoom;
    context.beginPath();
    context.moveTo(...place(points[i]));
    context.lineTo(...place(points[j]));
    context.stroke();
  }
  const order = points.map((_, i) => i).sort((a, b) => points[a][2] - points[b][2]);
  for (const i of order) {
    context.beginPath();
    context.arc(...place(points[i]), (0.16 + 0.28 * radii[i]) * zoom, 0, 2 * Math.PI);
    context.fillStyle = elements[structure.numbers[i]].color;
    context.fill();
    context.strokeStyle = "rgba(20, 24, 32, 0.35)";
    context.lineWidth = 0.8 * scale;
    context.stroke();
  }
}
