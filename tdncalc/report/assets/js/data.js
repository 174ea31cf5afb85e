// The packed runs: what packing.py packs is unpacked here.

async function inflated(id) {
  const text = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Return the JSON object, in which `unpack` resolves what stands for an array. */
async function openData() {
  const bytes = await inflated("data");
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const data = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const unpacked = new Map();
  data.unpack = (ref) => {
    if (!unpacked.has(ref.at)) unpacked.set(ref.at, unpackArray(bytes, 4 + length, ref));
    return unpacked.get(ref.at);
  };
  return data;
}

/** Undo byte planes, differences and rounding: a flat Float32Array in the order of ref.shape. */
function unpackArray(bytes, start, ref) {
  const count = ref.bytes / 4;
  const planes = bytes.subarray(start + ref.at, start + ref.at + ref.bytes);
  const perFrame = ref.shape.slice(1).reduce((a, b) => a * b, 1);
  const sums = new Int32Array(perFrame);
  const values = new Float32Array(count);
  for (let i = 0, j = 0; i < count; i++, j = j + 1 === perFrame ? 0 : j + 1) {
    sums[j] +=
      planes[i] | (planes[count + i] << 8) | (planes[2 * count + i] << 16) | (planes[3 * count + i] << 24);
    values[i] = sums[j] * ref.step;
  }
  return values;
}
